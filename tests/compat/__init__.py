"""The own tests of Flask, of asgiref and of extensions, run through the bridge."""
