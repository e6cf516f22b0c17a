"""The service, with more time for a request that is on its way when the stop begins."""

from flask_asgi import _server as server

from price_service import serve

if __name__ == "__main__":
    server.ON_ITS_WAY_SECONDS = 60
    serve.main()
