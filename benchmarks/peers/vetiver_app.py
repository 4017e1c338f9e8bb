"""The model on vetiver, with a handler for probabilities: `vetiver_app.py MODEL PORT`."""

import sys

import joblib
from vetiver import VetiverAPI, VetiverModel
from vetiver.handlers.sklearn import SKLearnHandler


class Shares(SKLearnHandler):
    """vetiver's own handler answers classes only."""

    def handler_predict(self, input_data, check_prototype):
        """Probabilities of each row."""
        return self.model.predict_proba(input_data).tolist()


if __name__ == "__main__":
    model = VetiverModel(joblib.load(sys.argv[1]), "adult", prototype_data=None)
    VetiverAPI(model, check_prototype=False).run(port=int(sys.argv[2]))
