"""The demo: servers, learners and a worker, watched until everything is proven."""
