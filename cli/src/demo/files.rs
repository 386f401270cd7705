//! The example's files, carried in the binary so that the demo needs no checkout.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use hyper::body::Bytes;
use serde::Deserialize;

/// The files of `examples/digits` that the demo uses, by their path below it.
const FILES: &[(&str, &[u8])] = &[
    ("endpoint.yml", include_bytes!("../../../examples/digits/endpoint.yml")),
    ("blue-deployment.yml", include_bytes!("../../../examples/digits/blue-deployment.yml")),
    ("green-deployment.yml", include_bytes!("../../../examples/digits/green-deployment.yml")),
    ("conda.yml", include_bytes!("../../../examples/digits/conda.yml")),
    ("blue/code/score.py", include_bytes!("../../../examples/digits/blue/code/score.py")),
    ("blue/model/model.joblib", include_bytes!("../../../examples/digits/blue/model/model.joblib")),
    ("green/model.onnx", include_bytes!("../../../examples/digits/green/model.onnx")),
];

const HELD_OUT: &[u8] = include_bytes!("../../../examples/digits/held-out.json");

/// The example on disk, and its held-out images in memory.
pub(super) struct Digits {
    dir: PathBuf,
    /// One request body per image.
    pub(super) bodies: Vec<Bytes>,
    /// What each image shows.
    pub(super) labels: Vec<i64>,
}

#[derive(Deserialize)]
struct Image {
    data: Vec<u8>,
    label: i64,
}

// === impl Digits ===

impl Digits {
    /// Writes the example below `dir`.
    pub(super) fn unpack(dir: &Path) -> io::Result<Self> {
        for (name, bytes) in FILES {
            let path = dir.join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(path, bytes)?;
        }
        let images: Vec<Image> = serde_json::from_slice(HELD_OUT)?;
        let body = |image: &Image| Bytes::from(serde_json::json!({ "data": [image.data] }).to_string());
        Ok(Self {
            dir: dir.to_owned(),
            bodies: images.iter().map(body).collect(),
            labels: images.iter().map(|image| image.label).collect(),
        })
    }

    /// Returns the path of a file of the example.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Returns whether an answer to image `number` names the right digit.
    pub(super) fn is_right(&self, number: u64, answer: &[u8]) -> bool {
        let predicted = serde_json::from_slice::<serde_json::Value>(answer).ok();
        let predicted = predicted.as_ref().and_then(|answer| answer.get("predictions")?.get(0)?.as_i64());
        predicted.is_some() && predicted == self.labels.get(number as usize).copied()
    }
}
