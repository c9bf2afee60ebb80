"""Where answers come from: ONNX Runtime in process, Triton, scripted; and the policy around them."""
