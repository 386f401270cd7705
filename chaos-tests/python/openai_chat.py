"""OpenAI's own client, its class for Azure, and what curl would send by requests and httpx."""

import sys
import time

import httpx
import openai
import requests

address, model = sys.argv[1:3]
for prefix in ("/v1", "/openai/v1"):
    client = openai.OpenAI(base_url=f"http://{address}{prefix}", api_key="none", max_retries=0, timeout=20)
    assert model in [listed.id for listed in client.models.list()]
    retrieved = client.models.retrieve(model)
    assert retrieved.id == model and abs(time.time() - retrieved.created) < 600, retrieved
    asked = {"model": model, "messages": [{"role": "user", "content": "one two three"}]}
    assert client.chat.completions.create(**asked).choices[0].message.content == "one two three"
    with client.chat.completions.create(**asked, stream=True) as stream:
        assert [chunk.choices[0].delta.content for chunk in stream] == ["one", "two", "three"]
    # Which the library writes in front of the model.
    prompt = "four " * 60_000
    long = client.chat.completions.create(model=model, messages=[{"role": "user", "content": prompt}])
    assert long.choices[0].message.content == prompt.strip()
    vectors = client.embeddings.create(model=model, input=["a", "bcd"], encoding_format="float").data
    assert [vector.embedding for vector in vectors] == [[1.0], [3.0]]
    try:
        client.chat.completions.create(**{**asked, "model": "nobody-there"})
    except openai.NotFoundError as error:
        assert error.code == "E_ENDPOINT_NOT_FOUND", error
    else:
        raise AssertionError("a model that is not there answered")

azure = openai.AzureOpenAI(
    azure_endpoint=f"http://{address}", api_key="none", api_version="2024-10-21", max_retries=0, timeout=20
)
asked = {"model": model, "messages": [{"role": "user", "content": "one two three"}]}
assert azure.chat.completions.create(**asked).choices[0].message.content == "one two three"
with azure.chat.completions.create(**asked, stream=True) as stream:
    assert [chunk.choices[0].delta.content for chunk in stream] == ["one", "two", "three"]
vectors = azure.embeddings.create(model=model, input=["a", "bcd"], encoding_format="float").data
assert [vector.embedding for vector in vectors] == [[1.0], [3.0]]
assert model in [listed.id for listed in azure.models.list()]
try:
    azure.chat.completions.create(**{**asked, "model": "nobody-there"})
except openai.NotFoundError as error:
    assert error.code == "E_ENDPOINT_NOT_FOUND", error
else:
    raise AssertionError("a deployment that is not there answered")

url = f"http://{address}/e/{model}/v1/embeddings"
body = {"model": "any", "input": "four"}
by_requests = requests.post(url, json=body, timeout=20)
with httpx.Client(timeout=20) as client:
    by_httpx = client.post(url, json=body)
    assert client.head(f"http://{address}/v2/health/live").status_code == 200
assert by_requests.json()["data"] == by_httpx.json()["data"] == [{"object": "embedding", "index": 0, "embedding": [4.0]}]
# Who named the endpoint is not told it; who named a model is.
assert "x-berth-endpoint" not in by_requests.headers and "x-berth-endpoint" not in by_httpx.headers
by_model = requests.post(f"http://{address}/v1/embeddings", json={**body, "model": model}, timeout=20)
assert by_model.headers["x-berth-endpoint"] == model, by_model.headers
print("ok")
