//! The Open Inference Protocol over gRPC, typed: tensors in, tensors out.

use berth_core::error::{Code, Error};
use berth_proto::inference::v2::{
    InferTensorContents, ModelInferRequest, ModelInferResponse, ModelMetadataRequest, ModelMetadataResponse,
    ModelReadyRequest, ModelReadyResponse, ServerLiveRequest, ServerLiveResponse, ServerMetadataRequest,
    ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse, model_infer_request::InferInputTensor,
};
use bytes::{Buf, Bytes};
use prost::Message;
use tonic::Status;

use crate::infer::InferClient;

/// The service's path.
const SERVICE: &str = "/inference.GRPCInferenceService";

/// A named tensor: its shape, and its elements in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// The name the model knows it by.
    pub name: String,
    /// The length of every dimension.
    pub shape: Vec<u64>,
    /// The elements.
    pub data: TensorData,
}

/// What a model answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Inference {
    /// The model.
    pub model: String,
    /// Its version.
    pub version: String,
    /// The outputs, in the model's order.
    pub outputs: Vec<Tensor>,
}

macro_rules! elements {
    ($($name:ident($type:ty) = $word:literal, $contents:ident;)*) => {
        /// Elements of one datatype.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum TensorData {
            /// `BOOL`.
            Bool(Vec<bool>),
            /// `BYTES`: text, or anything else.
            Bytes(Vec<Bytes>),
            $(#[doc = concat!("`", $word, "`.")] $name(Vec<$type>),)*
        }

        impl TensorData {
            /// Returns the datatype's name in the protocol.
            pub fn datatype(&self) -> &'static str {
                match self {
                    Self::Bool(_) => "BOOL",
                    Self::Bytes(_) => "BYTES",
                    $(Self::$name(_) => $word,)*
                }
            }

            /// Returns how many elements there are.
            pub fn len(&self) -> usize {
                match self {
                    Self::Bool(all) => all.len(),
                    Self::Bytes(all) => all.len(),
                    $(Self::$name(all) => all.len(),)*
                }
            }

            /// Returns the little-endian form.
            fn packed(&self) -> Bytes {
                match self {
                    Self::Bool(all) => all.iter().map(|value| u8::from(*value)).collect(),
                    Self::Bytes(all) => all.iter().flat_map(|item| sized(item)).collect(),
                    $(Self::$name(all) => all.iter().flat_map(|value| value.to_le_bytes()).collect(),)*
                }
            }

            /// Reads the little-endian form of `count` elements.
            fn unpacked(datatype: &str, count: usize, mut bytes: Bytes) -> Option<Self> {
                match datatype {
                    "BOOL" => (bytes.len() == count).then(|| Self::Bool(bytes.iter().map(|byte| *byte != 0).collect())),
                    "BYTES" => {
                        let mut all = Vec::new();
                        while bytes.has_remaining() {
                            let length = bytes.try_get_u32_le().ok()? as usize;
                            all.push((bytes.len() >= length).then(|| bytes.split_to(length))?);
                        }
                        (all.len() == count).then_some(Self::Bytes(all))
                    }
                    $($word => {
                        const SIZE: usize = size_of::<$type>();
                        let (chunks, rest) = bytes.as_chunks::<SIZE>();
                        let fits = rest.is_empty() && chunks.len() == count;
                        fits.then(|| Self::$name(chunks.iter().map(|chunk| <$type>::from_le_bytes(*chunk)).collect()))
                    })*
                    _ => None,
                }
            }

            /// Reads typed contents of `count` elements.
            fn of_contents(datatype: &str, count: usize, contents: InferTensorContents) -> Option<Self> {
                let data = match datatype {
                    "BOOL" => Self::Bool(contents.bool_contents),
                    "BYTES" => Self::Bytes(contents.bytes_contents),
                    $($word => Self::$name(
                        contents.$contents.into_iter().map(<$type>::try_from).collect::<Result<_, _>>().ok()?,
                    ),)*
                    _ => return None,
                };
                (data.len() == count).then_some(data)
            }
        }

        $(
            impl From<Vec<$type>> for TensorData {
                fn from(all: Vec<$type>) -> Self {
                    Self::$name(all)
                }
            }
        )*
    };
}

elements! {
    Int8(i8) = "INT8", int_contents;
    Int16(i16) = "INT16", int_contents;
    Int32(i32) = "INT32", int_contents;
    Int64(i64) = "INT64", int64_contents;
    Uint8(u8) = "UINT8", uint_contents;
    Uint16(u16) = "UINT16", uint_contents;
    Uint32(u32) = "UINT32", uint_contents;
    Uint64(u64) = "UINT64", uint64_contents;
    Fp32(f32) = "FP32", fp32_contents;
    Fp64(f64) = "FP64", fp64_contents;
}

// === impl TensorData ===

impl TensorData {
    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Vec<bool>> for TensorData {
    fn from(all: Vec<bool>) -> Self {
        Self::Bool(all)
    }
}

impl From<Vec<String>> for TensorData {
    fn from(all: Vec<String>) -> Self {
        Self::Bytes(all.into_iter().map(Bytes::from).collect())
    }
}

fn sized(item: &Bytes) -> impl Iterator<Item = u8> {
    // A message ends at 2 GiB, so no item of one is longer than four bytes can say.
    let length = u32::try_from(item.len()).unwrap_or(u32::MAX).to_le_bytes();
    length.into_iter().chain(item.clone())
}

// === impl Tensor ===

impl Tensor {
    /// Creates a tensor; refuses when the shape holds another number of elements.
    ///
    /// ```
    /// use berth_client::Tensor;
    ///
    /// let images = Tensor::new("x", [2, 3], vec![0.0_f32; 6])?;
    /// assert_eq!(images.data.datatype(), "FP32");
    /// assert!(Tensor::new("x", [2, 3], vec![0_i64; 7]).is_err());
    /// # Ok::<(), berth_client::Error>(())
    /// ```
    pub fn new(
        name: impl Into<String>,
        shape: impl Into<Vec<u64>>,
        data: impl Into<TensorData>,
    ) -> Result<Self, Error> {
        let (name, shape, data) = (name.into(), shape.into(), data.into());
        if count(&shape) != Some(data.len()) {
            let what = format!("tensor {name}: {} elements do not fill the shape {shape:?}", data.len());
            return Err(Error::new(Code::Invalid, what));
        }
        Ok(Self { name, shape, data })
    }
}

fn count(shape: &[u64]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |count, length| count.checked_mul(usize::try_from(*length).ok()?))
}

/// The Open Inference Protocol over gRPC. What the model says is a status of its own.
impl InferClient {
    /// Sends tensors to a model and returns what it answers; the endpoint's name is a model's name too.
    ///
    /// ```no_run
    /// # async fn example(digits: berth_client::InferClient) -> Result<(), Box<dyn std::error::Error>> {
    /// use berth_client::{Tensor, TensorData};
    ///
    /// let image = Tensor::new("x", [1, 64], vec![0.0_f32; 64])?;
    /// let answer = digits.infer_tensors("digits", &[image]).await?;
    /// if let TensorData::Int64(labels) = &answer.outputs[0].data {
    ///     println!("{labels:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn infer_tensors(&self, model: &str, inputs: &[Tensor]) -> Result<Inference, Status> {
        let shape =
            |tensor: &Tensor| tensor.shape.iter().map(|length| i64::try_from(*length).unwrap_or(i64::MAX)).collect();
        let input = |tensor: &Tensor| InferInputTensor {
            name: tensor.name.clone(),
            datatype: tensor.data.datatype().to_owned(),
            shape: shape(tensor),
            ..Default::default()
        };
        let request = ModelInferRequest {
            model_name: model.to_owned(),
            inputs: inputs.iter().map(input).collect(),
            raw_input_contents: inputs.iter().map(|tensor| tensor.data.packed()).collect(),
            ..Default::default()
        };
        read(self.oip("ModelInfer", &request).await?)
    }

    /// Returns whether the model server behind the endpoint runs.
    ///
    /// ```no_run
    /// # async fn example(digits: berth_client::InferClient) -> Result<(), tonic::Status> {
    /// assert!(digits.server_live().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn server_live(&self) -> Result<bool, Status> {
        self.oip("ServerLive", &ServerLiveRequest {}).await.map(|answer: ServerLiveResponse| answer.live)
    }

    /// Returns whether the model server behind the endpoint takes requests.
    ///
    /// ```no_run
    /// # async fn example(digits: berth_client::InferClient) -> Result<(), tonic::Status> {
    /// assert!(digits.server_ready().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn server_ready(&self) -> Result<bool, Status> {
        self.oip("ServerReady", &ServerReadyRequest {}).await.map(|answer: ServerReadyResponse| answer.ready)
    }

    /// Returns whether a model takes requests.
    ///
    /// ```no_run
    /// # async fn example(digits: berth_client::InferClient) -> Result<(), tonic::Status> {
    /// assert!(digits.model_ready("digits").await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn model_ready(&self, model: &str) -> Result<bool, Status> {
        let request = ModelReadyRequest { name: model.to_owned(), ..Default::default() };
        self.oip("ModelReady", &request).await.map(|answer: ModelReadyResponse| answer.ready)
    }

    /// Returns what the model server is.
    ///
    /// ```no_run
    /// # async fn example(digits: berth_client::InferClient) -> Result<(), tonic::Status> {
    /// println!("{}", digits.server_metadata().await?.name);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn server_metadata(&self) -> Result<ServerMetadataResponse, Status> {
        self.oip("ServerMetadata", &ServerMetadataRequest {}).await
    }

    /// Returns what a model takes and gives.
    ///
    /// ```no_run
    /// # async fn example(digits: berth_client::InferClient) -> Result<(), tonic::Status> {
    /// for input in digits.model_metadata("digits").await?.inputs {
    ///     println!("{} {} {:?}", input.name, input.datatype, input.shape);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn model_metadata(&self, model: &str) -> Result<ModelMetadataResponse, Status> {
        self.oip("ModelMetadata", &ModelMetadataRequest { name: model.to_owned(), ..Default::default() }).await
    }

    async fn oip<T: Message + Default>(&self, method: &str, request: &impl Message) -> Result<T, Status> {
        let answer = self.unary(&format!("{SERVICE}/{method}"), request.encode_to_vec()).await?;
        T::decode(answer.message).map_err(|error| Status::internal(format!("{method}: the answer is damaged: {error}")))
    }
}

/// Reads an answer, whichever form its elements have.
fn read(answer: ModelInferResponse) -> Result<Inference, Status> {
    let mut raw = answer.raw_output_contents.into_iter();
    let mut outputs = Vec::with_capacity(answer.outputs.len());
    for output in answer.outputs {
        let damaged =
            || Status::internal(format!("output {} is not {} {:?}", output.name, output.datatype, output.shape));
        let shape: Result<Vec<u64>, _> = output.shape.iter().map(|length| u64::try_from(*length)).collect();
        let shape = shape.map_err(|_| damaged())?;
        let elements = count(&shape).ok_or_else(damaged)?;
        let data = match (output.contents.clone(), raw.next()) {
            (None, Some(bytes)) => TensorData::unpacked(&output.datatype, elements, bytes),
            (Some(contents), None) => TensorData::of_contents(&output.datatype, elements, contents),
            _ => None,
        };
        let data = data.ok_or_else(damaged)?;
        outputs.push(Tensor { name: output.name, shape, data });
    }
    Ok(Inference { model: answer.model_name, version: answer.model_version, outputs })
}

#[cfg(test)]
mod tests {
    use berth_proto::inference::v2::model_infer_response::InferOutputTensor;

    use super::*;

    #[test]
    fn every_datatype_comes_back_as_it_went() {
        for data in [
            TensorData::from(vec![true, false]),
            vec![-1_i8, 2].into(),
            vec![-300_i16, 2].into(),
            vec![-70_000_i32, 2].into(),
            vec![i64::MIN, 2].into(),
            vec![255_u8, 2].into(),
            vec![65_535_u16, 2].into(),
            vec![u32::MAX, 2].into(),
            vec![u64::MAX, 2].into(),
            vec![0.5_f32, -2.0].into(),
            vec![0.1_f64, -2.0].into(),
            vec!["é".to_owned(), String::new()].into(),
        ] {
            let word = data.datatype();
            assert_eq!(TensorData::unpacked(word, 2, data.packed()), Some(data.clone()), "{word}");
            assert_eq!(TensorData::unpacked(word, 3, data.packed()), None, "{word}: an element too few");
            let cut = data.packed().slice(1..);
            assert_ne!(TensorData::unpacked(word, 2, cut), Some(data), "{word}: cut off");
        }
        assert_eq!(TensorData::unpacked("FP8", 1, Bytes::from_static(b"x")), None);
    }

    #[test]
    fn an_answer_with_typed_contents_is_read_and_a_damaged_one_refused() {
        let answer = |datatype: &str, shape: &[i64], contents: InferTensorContents| ModelInferResponse {
            outputs: vec![InferOutputTensor {
                name: "y".into(),
                datatype: datatype.into(),
                shape: shape.to_vec(),
                contents: Some(contents),
                ..Default::default()
            }],
            ..Default::default()
        };
        let ints = |all: &[i32]| InferTensorContents { int_contents: all.to_vec(), ..Default::default() };
        let read_one = read(answer("INT8", &[2], ints(&[-1, 7]))).expect("a whole answer");
        assert_eq!(read_one.outputs, [Tensor::new("y", [2], vec![-1_i8, 7]).expect("it fits")]);
        for (damaged, why) in [
            (answer("INT8", &[3], ints(&[-1, 7])), "an element too few"),
            (answer("INT8", &[2], ints(&[-1, 700])), "out of range"),
            (answer("INT8", &[-1, -2], ints(&[-1, 7])), "no shape"),
            (answer("FP8", &[2], ints(&[-1, 7])), "no datatype"),
            (answer("FP32", &[2], ints(&[-1, 7])), "another field"),
            (ModelInferResponse { raw_output_contents: vec![Bytes::new()], ..answer("INT8", &[0], ints(&[])) }, "both"),
        ] {
            assert_eq!(read(damaged).expect_err(why).code(), tonic::Code::Internal, "{why}");
        }
    }
}
