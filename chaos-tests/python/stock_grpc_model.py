"""A model behind a stock grpcio server: Triton's service with streaming, reflection and a health service of its own."""

import os
from concurrent import futures

import grpc
from grpc_reflection.v1alpha import reflection
from tritonclient.grpc import service_pb2, service_pb2_grpc


class Model(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Answers each request of a stream with as many tokens as its first input says."""

    def ModelReady(self, request, context):
        return service_pb2.ModelReadyResponse(ready=True)

    def ModelStreamInfer(self, requests, context):
        for request in requests:
            count = int.from_bytes(request.raw_input_contents[0][:4], "little")
            if count > 1000:
                yield service_pb2.ModelStreamInferResponse(error_message=f"{count} tokens are too many")
                continue
            for token in range(count):
                answer = service_pb2.ModelInferResponse(model_name=request.model_name, id=request.id)
                output = answer.outputs.add(name="token", datatype="INT32")
                output.shape.append(1)
                answer.raw_output_contents.append(token.to_bytes(4, "little"))
                yield service_pb2.ModelStreamInferResponse(infer_response=answer)


server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Model(), server)
names = (service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name, reflection.SERVICE_NAME)
reflection.enable_server_reflection(names, server)
assert server.add_insecure_port(f"127.0.0.1:{os.environ['PORT']}"), "the port is free"
server.start()
server.wait_for_termination()
