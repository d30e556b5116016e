//! onnxruntime, from a library that the user has: it runs some graphs several times as fast as
//! tract does.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};

use onnx_ir::ModelProto;
use ort::environment::Environment;
use ort::session::Session;
use ort::value::TensorRef;
use protobuf::Message;

use crate::onnx::{first_line, remove_unused};

/// Where the library is, as every program that loads onnxruntime by way of the crate `ort` asks.
const LIBRARY: &str = "ORT_DYLIB_PATH";
/// Bytes of weights that all sessions together may hold; each has a copy.
const HELD: usize = 2 << 30;

/// The library that the environment names, loaded once.
fn environment() -> Result<Option<&'static Environment>, String> {
    static ENVIRONMENT: OnceLock<Result<Option<Environment>, String>> = OnceLock::new();
    let load = || {
        let Some(path) =
            std::env::var_os(LIBRARY).filter(|path| !path.is_empty()).map(PathBuf::from)
        else {
            return Ok(None);
        };
        let failed = |reason: &dyn fmt::Display| {
            format!(
                "onnxruntime cannot be used: {}, which {LIBRARY} names: {reason}",
                path.display()
            )
        };
        if !path.is_file() {
            return Err(failed(&"there is no such file"));
        }
        let builder = ort::init_from(&path).map_err(|error| failed(&error))?;
        builder
            .with_name("counterweight")
            .with_telemetry(false)
            .build()
            .map(Some)
            .map_err(|error| failed(&error))
    };
    ENVIRONMENT.get_or_init(load).as_ref().map(Option::as_ref).map_err(String::clone)
}

/// Sessions of one graph, each of which runs one image at a time.
pub(super) struct Sessions {
    /// Made when they are first needed; nothing while they are at work.
    idle: Mutex<Idle>,
    returned: Condvar,
    /// The graph up to the value that is asked for.
    model: Vec<u8>,
    /// Sessions there may be, and threads of each.
    most: usize,
    threads: usize,
}

struct Idle {
    sessions: Vec<Session>,
    made: usize,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("most", &self.most)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

impl Sessions {
    /// Of a file's graph up to a value; nothing if the environment names no library.
    ///
    /// # Errors
    /// A sentence, if the library cannot be used, or does not take the graph.
    pub fn new(bytes: &[u8], value: &str, input: &str) -> Result<Option<Self>, String> {
        let Some(environment) = environment()? else { return Ok(None) };
        let model = up_to(bytes, value, input)?;
        let cores = rayon::current_num_threads();
        let most = (HELD / model.len().max(1)).clamp(1, cores);
        let sessions = Self {
            idle: Mutex::new(Idle { sessions: Vec::new(), made: 1 }),
            returned: Condvar::new(),
            model,
            most,
            threads: (cores / most).max(1),
        };
        let first = sessions.session(environment)?;
        sessions.give_back(first);
        Ok(Some(sessions))
    }

    fn session(&self, environment: &Environment) -> Result<Session, String> {
        let make = || -> ort::Result<Session> {
            let builder = Session::builder(environment)?.with_intra_threads(self.threads)?;
            builder.with_intra_op_spinning(false)?.commit_from_memory(&self.model)
        };
        make().map_err(words)
    }

    /// An idle session; waits for one if as many exist as there may be.
    fn take(&self) -> Result<Session, String> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(session) = idle.sessions.pop() {
                return Ok(session);
            }
            if idle.made < self.most {
                idle.made += 1;
                drop(idle);
                let made = environment()?
                    .ok_or("onnxruntime is gone".to_string())
                    .and_then(|environment| self.session(environment));
                if made.is_err() {
                    self.idle.lock().unwrap_or_else(PoisonError::into_inner).made -= 1;
                }
                return made;
            }
            idle = self.returned.wait(idle).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn give_back(&self, session: Session) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).sessions.push(session);
        self.returned.notify_one();
    }

    /// As [`Engine::run`](super::engine::Engine::run).
    pub fn run(&self, shape: [usize; 4], image: &[f32]) -> Result<(Vec<usize>, Vec<f32>), String> {
        let mut session = self.take()?;
        let mut run = || -> ort::Result<(Vec<usize>, Vec<f32>)> {
            let outputs = session.run(ort::inputs![TensorRef::from_array_view((shape, image))?])?;
            let (shape, values) = outputs[0].try_extract_tensor::<f32>()?;
            Ok((
                shape.iter().map(|axis| usize::try_from(*axis).unwrap_or(0)).collect(),
                values.to_vec(),
            ))
        };
        let result = run().map_err(words);
        self.give_back(session);
        result
    }
}

fn words(error: ort::Error) -> String {
    format!("onnxruntime: {}", first_line(&error.to_string()))
}

/// A file with the graph up to a value, and the one input it takes.
fn up_to(bytes: &[u8], value: &str, input: &str) -> Result<Vec<u8>, String> {
    let mut model = ModelProto::parse_from_bytes(bytes).map_err(|error| error.to_string())?;
    model.training_info.clear();
    let graph = model.graph.as_mut().ok_or("there is no graph in it")?;
    // What the file says of the value may be wrong; its name is enough.
    let mut output = onnx_ir::ValueInfoProto::new();
    output.name = value.to_string();
    graph.output = vec![output];
    graph.value_info.clear();
    remove_unused(graph);
    let weights: std::collections::HashSet<String> =
        graph.initializer.iter().map(|tensor| tensor.name.clone()).collect();
    graph.input.retain(|one| one.name == input || weights.contains(&one.name));
    model.write_to_bytes().map_err(|error| error.to_string())
}
