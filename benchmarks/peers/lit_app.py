"""The model on LitServe: `lit_app.py MODEL PORT`."""

import sys

import joblib
import litserve
import pandas as pd


class Rows(litserve.LitAPI):
    """Predicts."""

    def setup(self, device):
        """Load the model."""
        self.model = joblib.load(sys.argv[1])

    def predict(self, rows):
        """Probabilities of each row."""
        return self.model.predict_proba(pd.DataFrame(rows)).tolist()


if __name__ == "__main__":
    server = litserve.LitServer(Rows(), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False)
