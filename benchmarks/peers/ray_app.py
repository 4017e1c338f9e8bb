"""The model on Ray Serve: `ray_app.py MODEL PORT`."""

import signal
import sys

import joblib
import pandas as pd
import ray
from ray import serve


@serve.deployment
class Rows:
    """Predicts."""

    def __init__(self, path):
        self.model = joblib.load(path)

    async def __call__(self, request):
        """Probabilities of each row."""
        return self.model.predict_proba(pd.DataFrame(await request.json())).tolist()


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[2])})
    serve.run(Rows.bind(sys.argv[1]), route_prefix="/predict")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()
