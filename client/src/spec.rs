//! Specs to begin with: every default filled in, as `berth apply` fills it in, and files named where they lie.
//!
//! A message of [`store`] begins empty, which no cluster takes. What is made here is whole, and `with` reaches every field
//! of the message:
//!
//! ```
//! use std::time::Duration;
//!
//! use berth_client::spec::{Deployment, Endpoint};
//!
//! let fraud = Endpoint::new("fraud").with(|spec| spec.idempotent = Some(true));
//! let blue = Deployment::onnx("fraud", "blue", "./model.onnx")
//!     .instances(2)
//!     .resources(500, 512)
//!     .request_timeout(Duration::from_secs(2))
//!     .with(|spec| spec.priority = Some(70));
//! assert_eq!(fraud.spec().max_body_bytes, 64 << 20);
//! assert_eq!((blue.spec().instance_count, blue.spec().reserve), (2, true));
//! ```
//!
//! ```no_run
//! # async fn example(fraud: berth_client::spec::Endpoint, blue: berth_client::spec::Deployment)
//! # -> Result<(), berth_client::Error> {
//! use std::time::Duration;
//!
//! let client = berth_client::Client::connect(["127.0.0.1:7400"]).await?;
//! client.apply_endpoint(&fraud).await?;
//! let applied = client.apply_deployment(&blue).await?;
//! client.await_serving(&applied, Duration::from_secs(600)).await?;
//! client.set_traffic("fraud", Some([("blue".to_owned(), 100)].into()), None).await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`store`]: crate::store

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use berth_core::{
    error::{Code, Error},
    model::{AssetRef, DeploymentSpec, EndpointSpec, Runtime, instance_type},
};
use berth_proto::api::{deployment_spec_message, endpoint_spec_message};

use crate::{
    api::{self, PutDeploymentRequest, PutEndpointRequest},
    store,
    transport::Client,
};

/// How soon a deployment is looked at again: what is shown to people is as old.
const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// The bytes of a model or of code: a file or folder at hand, or what the cluster holds already.
///
/// Wherever one is asked for, a path or an [`AssetRef`] will do.
///
/// ```no_run
/// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
/// use berth_client::spec::Deployment;
///
/// // Uploaded once, used twice.
/// let model = client.upload("./model.onnx".as_ref()).await?;
/// client.apply_deployment(&Deployment::onnx("fraud", "blue", &model)).await?;
/// client.apply_deployment(&Deployment::onnx("risk", "blue", model)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asset {
    /// A file or folder; sent when the deployment is applied, unless the cluster has its bytes.
    AtHand(PathBuf),
    /// What an upload returned.
    Held(AssetRef),
}

/// An endpoint that is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    name: String,
    spec: store::EndpointSpec,
}

/// A deployment that is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    endpoint: String,
    name: String,
    spec: store::DeploymentSpec,
    model: Option<Asset>,
    code: Option<Asset>,
    scoring_script: String,
}

// === impl Asset ===

impl From<&str> for Asset {
    fn from(path: &str) -> Self {
        Self::AtHand(path.into())
    }
}

impl From<&Path> for Asset {
    fn from(path: &Path) -> Self {
        Self::AtHand(path.to_owned())
    }
}

impl From<PathBuf> for Asset {
    fn from(path: PathBuf) -> Self {
        Self::AtHand(path)
    }
}

impl From<AssetRef> for Asset {
    fn from(held: AssetRef) -> Self {
        Self::Held(held)
    }
}

impl From<&AssetRef> for Asset {
    fn from(held: &AssetRef) -> Self {
        Self::Held(held.clone())
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// An endpoint with every default: callers show a key.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), spec: endpoint_spec_message(&EndpointSpec::default()) }
    }

    /// Lets everybody call it.
    ///
    /// ```
    /// use berth_client::{spec::Endpoint, store::AuthMode};
    ///
    /// assert_eq!(Endpoint::new("demo").without_keys().spec().auth_mode(), AuthMode::None);
    /// ```
    #[must_use]
    pub fn without_keys(self) -> Self {
        self.with(|spec| spec.set_auth_mode(store::AuthMode::None))
    }

    /// Changes any field.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut store::EndpointSpec)) -> Self {
        change(&mut self.spec);
        self
    }

    /// Returns what it is so far.
    pub fn spec(&self) -> &store::EndpointSpec {
        &self.spec
    }
}

// === impl Deployment ===

impl Deployment {
    /// An ONNX model, served by Berth itself.
    ///
    /// ```
    /// use berth_client::spec::Deployment;
    ///
    /// let blue = Deployment::onnx("digits", "blue", "./model.onnx").instances(3);
    /// assert_eq!(blue.spec().instance_count, 3);
    /// ```
    pub fn onnx(endpoint: &str, name: &str, model: impl Into<Asset>) -> Self {
        Self::new(endpoint, name, Runtime::Onnx).model(model)
    }

    /// A program that listens on the port that `$PORT` names, wherever that stands in its words. No shell reads them.
    ///
    /// ```
    /// use berth_client::spec::Deployment;
    ///
    /// let blue = Deployment::command("talk", "blue", ["python3", "app.py", "--port", "$PORT"])
    ///     .code("./app")
    ///     .env("THRESHOLD", "0.7")
    ///     .resources(500, 512);
    /// assert_eq!(blue.spec().environment_variables["THRESHOLD"], "0.7");
    /// ```
    pub fn command<W: Into<String>>(endpoint: &str, name: &str, words: impl IntoIterator<Item = W>) -> Self {
        Self::new(endpoint, name, Runtime::Command(words.into_iter().map(Into::into).collect()))
    }

    /// A scoring script with `init()` and `run(data)`; `code` is the folder it lies in, all of which goes along.
    ///
    /// ```
    /// use berth_client::spec::Deployment;
    ///
    /// let blue = Deployment::script("digits", "blue", "./src", "score.py")
    ///     .model("./model.pkl")
    ///     .pip(["scikit-learn==1.5.2", "numpy"])
    ///     .python("3.11");
    /// let environment = blue.spec().environment.as_ref().expect("every default is there");
    /// assert_eq!((environment.pip.len(), environment.python.as_deref()), (2, Some("3.11")));
    /// ```
    pub fn script(endpoint: &str, name: &str, code: impl Into<Asset>, scoring_script: &str) -> Self {
        let mut script = Self::new(endpoint, name, Runtime::Python).code(code);
        scoring_script.clone_into(&mut script.scoring_script);
        script
    }

    fn new(endpoint: &str, name: &str, runtime: Runtime) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            name: name.to_owned(),
            spec: deployment_spec_message(&DeploymentSpec::new(runtime)),
            model: None,
            code: None,
            scoring_script: String::new(),
        }
    }

    /// The model that a script finds under `AZUREML_MODEL_DIR`, and a program under its folder.
    #[must_use]
    pub fn model(mut self, model: impl Into<Asset>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// The folder a program starts in.
    #[must_use]
    pub fn code(mut self, code: impl Into<Asset>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// What a script or a program imports, as pip names it.
    #[must_use]
    pub fn pip<W: Into<String>>(self, requirements: impl IntoIterator<Item = W>) -> Self {
        self.with(|spec| {
            let environment = spec.environment.get_or_insert_default();
            environment.pip.extend(requirements.into_iter().map(Into::into));
        })
    }

    /// The Python it was written for; a node that has no such one uses its own, and says so.
    #[must_use]
    pub fn python(self, version: &str) -> Self {
        self.with(|spec| spec.environment.get_or_insert_default().python = Some(version.to_owned()))
    }

    /// A variable of its processes.
    #[must_use]
    pub fn env(self, name: &str, value: &str) -> Self {
        self.with(|spec| drop(spec.environment_variables.insert(name.to_owned(), value.to_owned())))
    }

    /// How many instances serve.
    #[must_use]
    pub fn instances(self, count: u32) -> Self {
        self.with(|spec| spec.instance_count = count)
    }

    /// What one instance gets: thousandths of a core, and MiB.
    #[must_use]
    pub fn resources(self, cpu_milli: u64, memory_mib: u64) -> Self {
        self.with(|spec| {
            spec.instance_type.clear();
            let resources = spec.resources.get_or_insert_default();
            (resources.cpu_milli, resources.memory_mib) = (cpu_milli, memory_mib);
        })
    }

    /// What one instance gets, by Azure's name for a size; refused when no size has that name.
    ///
    /// ```
    /// use berth_client::spec::Deployment;
    ///
    /// let blue = Deployment::onnx("digits", "blue", "./model.onnx").instance_type("Standard_F4s_v2")?;
    /// assert_eq!(blue.spec().resources.as_ref().map(|it| it.cpu_milli), Some(4_000));
    /// assert!(blue.instance_type("Standard_F5").is_err());
    /// # Ok::<(), berth_client::Error>(())
    /// ```
    pub fn instance_type(self, name: &str) -> Result<Self, Error> {
        let size = instance_type(name).ok_or_else(|| {
            Error::new(Code::Invalid, format!("`{name}` is no size"))
                .try_("name one such as `Standard_DS3_v2`, or say what an instance gets with `resources`")
        })?;
        // As in a file, where a later `resources` may ask for more or less.
        Ok(self.with(|spec| {
            let sized = DeploymentSpec { resources: size.resources(), ..DeploymentSpec::new(Runtime::Onnx) };
            spec.resources = deployment_spec_message(&sized).resources;
            name.clone_into(&mut spec.instance_type);
        }))
    }

    /// How long a request may take, waiting included.
    #[must_use]
    pub fn request_timeout(self, within: Duration) -> Self {
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        self.with(|spec| spec.request_settings.get_or_insert_default().request_timeout_ms = within_ms)
    }

    /// How many requests an instance works on at once.
    #[must_use]
    pub fn concurrency(self, requests: u32) -> Self {
        self.with(|spec| {
            spec.request_settings.get_or_insert_default().max_concurrent_requests_per_instance = requests;
        })
    }

    /// Changes any field.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut store::DeploymentSpec)) -> Self {
        change(&mut self.spec);
        self
    }

    /// Returns what it is so far; model and code come in when it is applied.
    pub fn spec(&self) -> &store::DeploymentSpec {
        &self.spec
    }
}

/// Applying what is wanted, and waiting for it.
impl Client {
    /// Makes an endpoint what is wanted, whether it is there or not.
    pub async fn apply_endpoint(&self, wanted: &Endpoint) -> Result<api::Endpoint, Error> {
        let spec = Some(wanted.spec.clone());
        self.put_endpoint(PutEndpointRequest { name: wanted.name.clone(), spec, ..Default::default() }).await
    }

    /// Uploads what the cluster does not hold yet, and makes a deployment what is wanted, whether it is there or not.
    ///
    /// It answers before any instance serves: [`Client::await_serving`] waits for them.
    pub async fn apply_deployment(&self, wanted: &Deployment) -> Result<api::Deployment, Error> {
        let mut spec = wanted.spec.clone();
        if let Some(asset) = &wanted.model {
            let asset = self.held(asset).await?;
            let mut model = spec.model.take().unwrap_or_default();
            if model.name.is_empty() {
                model.name.clone_from(&asset.name);
            }
            if model.version.is_empty() {
                "1".clone_into(&mut model.version);
            }
            if model.model_type() == store::ModelType::Unspecified {
                model.set_model_type(store::ModelType::CustomModel);
            }
            spec.model = Some(store::Model { asset: Some(asset.into()), ..model });
        }
        if let Some(asset) = &wanted.code {
            let asset = Some(self.held(asset).await?.into());
            spec.code = Some(store::Code { asset, scoring_script: wanted.scoring_script.clone() });
        }
        let request = PutDeploymentRequest {
            endpoint: wanted.endpoint.clone(),
            name: wanted.name.clone(),
            spec: Some(spec),
            ..Default::default()
        };
        self.put_deployment(request).await
    }

    async fn held(&self, asset: &Asset) -> Result<AssetRef, Error> {
        match asset {
            Asset::AtHand(path) => self.upload(path).await,
            Asset::Held(held) => Ok(held.clone()),
        }
    }

    /// Waits until a deployment serves, as it was applied or newer, with all of its instances; says why when it cannot.
    pub async fn await_serving(&self, applied: &api::Deployment, within: Duration) -> Result<api::Deployment, Error> {
        let until = tokio::time::Instant::now() + within;
        let key = format!("{}/{}", applied.endpoint, applied.name);
        loop {
            let asked = self.get_deployment(&applied.endpoint, &applied.name);
            let late = || Error::new(Code::Timeout, format!("{key} does not serve yet: no coordinator answers"));
            let seen = tokio::time::timeout_at(until, asked).await.map_err(|_| late())??;
            let is_ours = seen.generation >= applied.generation;
            match seen.provisioning_state.as_str() {
                "Succeeded" if is_ours => return Ok(seen),
                "Failed" if is_ours => {
                    return Err(Error::new(Code::ReplicaStart, format!("{key} cannot serve"))
                        .why(seen.reason)
                        .try_(format!("`berth logs {key}` shows what it wrote")));
                }
                _ => {}
            }
            let now = tokio::time::Instant::now();
            if now >= until {
                let ready = format!("{} of {} are ready", seen.ready, seen.desired);
                return Err(Error::new(Code::Timeout, format!("{key} does not serve yet: {ready}"))
                    .why(seen.reason)
                    .try_(format!("it goes on without you; `berth explain {key}` says what it waits for")));
            }
            tokio::time::sleep(LOOK_AGAIN.min(until - now)).await;
        }
    }
}
