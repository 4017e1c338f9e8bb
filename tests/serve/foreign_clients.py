"""Asks a server with the clients of MLflow and KServe; run in an environment that has them.

Reads host, port, grpc_port, rows and numbers as JSON on standard input and writes what each
client made of the answers on standard output.
"""

from __future__ import annotations

import asyncio
import json
import sys

import pandas as pd
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.inference_client import InferenceGRPCClient
from mlflow.pyfunc.scoring_server.client import ScoringServerClient


def mlflow_answers(told: dict) -> dict:
    client = ScoringServerClient(told["host"], told["port"])
    client.wait_server_ready(timeout=20)
    frame = pd.DataFrame(told["rows"])
    plain = client.invoke(frame)
    shares = client.invoke(frame, params={"predict_method": "predict_proba"})
    try:
        client.invoke(frame.drop(columns="age"))
        refused = ""
    except Exception as error:
        refused = str(error)
    return {
        "predictions": plain.get_predictions()[0].tolist(),
        "probabilities": shares.get_predictions().to_numpy().tolist(),
        "refused": refused,
        "version": client.get_version() if hasattr(client, "get_version") else None,
    }


def tensors(told: dict) -> list[InferInput]:
    made = []
    for name in told["rows"][0]:
        cells = [row[name] for row in told["rows"]]
        kind = "FP64" if name in told["numbers"] else "BYTES"
        made.append(InferInput(name=name, shape=[len(cells)], datatype=kind, data=cells))
    return made


async def kserve_answers(told: dict) -> dict:
    base = f"http://{told['host']}:{told['port']}"
    first = InferenceRESTClient(RESTConfig(protocol="v1"))
    second = InferenceRESTClient(RESTConfig(protocol="v2"))
    remote = InferenceGRPCClient(f"{told['host']}:{told['grpc_port']}")
    request = InferRequest(model_name="adult", infer_inputs=tensors(told))
    one = await first.infer(base, {"instances": told["rows"]}, model_name="adult")
    two = await second.infer(base, request, model_name="adult")
    three = await remote.infer(InferRequest(model_name="adult", infer_inputs=tensors(told)))
    answers = {
        "v1": one["predictions"],
        "v2": texts(two.outputs[0]),
        "grpc": texts(three.outputs[0]),
        "shares": three.outputs[1].as_numpy().tolist(),
        "ready": [
            await first.is_model_ready(base, "adult"),
            await second.is_server_ready(base),
            await second.is_server_live(base),
            await second.is_model_ready(base, "adult"),
            await remote.is_server_ready(),
            await remote.is_model_ready("adult"),
        ],
    }
    await first.close()
    await second.close()
    await remote.close()
    return answers


def texts(output: object) -> list[str]:
    cells = output.as_numpy().tolist()
    return [cell.decode() if isinstance(cell, bytes) else cell for cell in cells]


if __name__ == "__main__":
    told = json.load(sys.stdin)
    found = {"mlflow": mlflow_answers(told), "kserve": asyncio.run(kserve_answers(told))}
    print(json.dumps(found))
