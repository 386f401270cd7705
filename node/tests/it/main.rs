//! Integration tests of the node, in one binary to link once.

mod onnx;
