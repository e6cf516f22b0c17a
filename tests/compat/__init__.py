"""Flask's and asgiref's own tests, run through the bridge."""
