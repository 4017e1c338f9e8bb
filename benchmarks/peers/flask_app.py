"""The model as a Flask tutorial has it: `flask_app.py MODEL PORT`."""

import sys

import joblib
import pandas as pd
from flask import Flask, jsonify, request

app = Flask(__name__)
model = joblib.load(sys.argv[1])


@app.post("/predict")
def predict():
    return jsonify(model.predict_proba(pd.DataFrame(request.get_json())).tolist())


if __name__ == "__main__":
    app.run(port=int(sys.argv[2]))
