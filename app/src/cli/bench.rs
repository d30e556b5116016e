//! `counterweight bench`: how fast this machine is at what the program does.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use counterweight_core::bench::{
    self, DecodeReport, FeatureShape, InferReport, LossTime, NetworkRequest, Stage2Report,
    Stage2Request, StepReport, TuneReport, TuneRequest, WARM_UP,
};
use counterweight_core::device;
use counterweight_core::job::Job;
use counterweight_core::model::{Kernels, OnnxFile};
use counterweight_core::settings::{
    Auto, Backbone, BackboneChoice, ClassifierLoss, LOSSES, ModelSettings, NamedNormalisation,
    Normalisation, Precision, Preset, Settings,
};

use super::Context;
use super::options::{DeviceOption, ThreadOption};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    train: TrainOptions,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// The training step: forward, backward and SGD. What is timed if nothing is named
    Train(TrainOptions),
    /// Computing features, as evaluation does
    Infer(InferOptions),
    /// Stage 2 with weight decay and MaxNorm, on features in memory
    Stage2(Stage2Options),
    /// A search for the best balancer, on features in memory
    Tune(TuneOptions),
    /// Scanning a source, and decoding and resizing its images
    Decode(DecodeOptions),
}

#[derive(Debug, clap::Args)]
struct NetworkOptions {
    /// The network: a resnet of 20, 32, 44, 56, 18, 34 or 50 layers, resnext50, or
    /// efficientnet-lite0 to efficientnet-lite2; for `infer` also onnx:FILE
    #[arg(long, value_name = "MODEL", default_value = "resnet32", value_parser = backbone)]
    model: BackboneChoice,
    /// Samples a step
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..=65536))]
    batch: u32,
    /// Side of the input in pixels; 32 if not given, and for a file what that says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(8..=1024))]
    size: Option<u32>,
    /// Steps to time
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    steps: u32,
    /// Who computes: own (this program's kernels) or burn (the tensor library's, for comparison)
    #[arg(long, value_name = "WHOSE", default_value = "own", value_parser = kernels)]
    kernels: Kernels,
    #[command(flatten)]
    device: DeviceOption,
    #[command(flatten)]
    threads: ThreadOption,
}

#[derive(Debug, clap::Args)]
struct TrainOptions {
    #[command(flatten)]
    network: NetworkOptions,
    /// What convolutions compute with: float32, tf32 or bfloat16; the last two where a GPU has
    /// units for them
    #[arg(long, value_name = "NUMBERS", default_value = "float32", value_parser = precision)]
    precision: Precision,
    /// Have batches cropped and flipped on a thread beside the steps, as in training, instead of
    /// using one batch again and again
    #[arg(long)]
    loader: bool,
}

#[derive(Debug, clap::Args)]
struct InferOptions {
    #[command(flatten)]
    network: NetworkOptions,
}

#[derive(Debug, clap::Args)]
struct ShapeOptions {
    /// Classes
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    classes: u32,
    /// Features of a sample
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    features: u32,
    /// Training samples of the largest class; the smallest has a hundredth of them
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    largest: u32,
    /// Training samples of all classes together, or as near as can be; sets --largest
    #[arg(long, value_name = "N", conflicts_with = "largest", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    samples: Option<u32>,
}

#[derive(Debug, clap::Args)]
struct Stage2Options {
    #[command(flatten)]
    shape: ShapeOptions,
    /// Samples a step
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65536))]
    batch: u32,
    /// Epochs of a training
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    epochs: u32,
    /// The losses to time it with, as balance.loss names them
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "class-balanced,class-balanced-bce", value_parser = loss)]
    losses: Vec<ClassifierLoss>,
    /// Trainings to time with each loss
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeats: u32,
}

#[derive(Debug, clap::Args)]
struct TuneOptions {
    #[command(flatten)]
    shape: ShapeOptions,
    /// Candidates to try
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    candidates: u32,
    #[command(flatten)]
    threads: ThreadOption,
}

#[derive(Debug, clap::Args)]
struct DecodeOptions {
    /// A folder with one folder a class, an archive, or a list: whatever `inspect` takes
    #[arg(value_name = "FOLDER")]
    source: PathBuf,
    /// Side of the network's input in pixels; what training would choose if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(8..=4096))]
    size: Option<u32>,
    #[command(flatten)]
    threads: ThreadOption,
}

fn backbone(text: &str) -> Result<BackboneChoice> {
    text.parse().map_err(|reason: String| anyhow!(reason))
}

fn precision(text: &str) -> Result<Precision> {
    let found = Precision::ALL.into_iter().find(|precision| precision.to_string() == text);
    found.ok_or_else(|| anyhow!("it is float32, tf32 or bfloat16"))
}

fn kernels(text: &str) -> Result<Kernels> {
    match text {
        "own" => Ok(Kernels::Own),
        "burn" => Ok(Kernels::Burn),
        _ => Err(anyhow!("there are only `own` and `burn`")),
    }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<()> {
    let job = Job::new(&context.control, context.console);
    let console = context.console;
    match &arguments.what {
        None => train(&arguments.train, context),
        Some(What::Train(options)) => train(options, context),
        Some(What::Infer(options)) => {
            options.network.threads.apply()?;
            let report = match options.network.model.file() {
                Some(_) => infer_file(&options.network, job)?,
                None => {
                    let (device, name) = device::open(options.network.device.device)?;
                    bench::infer(&options.network.request()?, &device, &name, job)?
                }
            };
            console.result(&report, || infer_line(&report))
        }
        Some(What::Stage2(options)) => {
            let request = Stage2Request {
                shape: options.shape.shape(),
                batch_size: options.batch as usize,
                epochs: options.epochs as usize,
                repeats: options.repeats as usize,
                losses: options.losses.clone(),
            };
            let report = bench::stage2(&request, job)?;
            console.result(&report, || stage2_line(&report))
        }
        Some(What::Tune(options)) => {
            options.threads.apply()?;
            let request = TuneRequest {
                shape: options.shape.shape(),
                candidates: options.candidates as usize,
            };
            let report = bench::tune(&request, job)?;
            console.result(&report, || tune_line(&report))
        }
        Some(What::Decode(options)) => {
            options.threads.apply()?;
            let report =
                bench::decode(&options.source, options.size.map(|side| side as usize), job)?;
            console.result(&report, || decode_line(&report))
        }
    }
}

/// Times a feature extractor out of an ONNX file, which tract runs on the processor.
fn infer_file(options: &NetworkOptions, job: Job<'_>) -> Result<InferReport> {
    let Some(path) = options.model.file() else {
        return Err(anyhow!("{} is no file", options.model));
    };
    let model = ModelSettings {
        input_size: options.size.map_or(Auto::AUTO, |side| Auto::Value(side as usize)),
        // What the numbers are does not change how long they take.
        normalisation: Normalisation::Named(NamedNormalisation::Imagenet),
        ..Settings::preset(Preset::Auto).model
    };
    let graph = OnnxFile::read(path)?.choose(model.feature_choice())?.graph;
    Ok(bench::infer_graph(
        &graph,
        &options.model.name(),
        options.batch as usize,
        options.steps as usize,
        job,
    )?)
}

fn train(options: &TrainOptions, context: &Context) -> Result<()> {
    options.network.threads.apply()?;
    let (device, name) = device::open(options.network.device.device)?;
    let job = Job::new(&context.control, context.console);
    let request = NetworkRequest { precision: options.precision, ..options.network.request()? };
    let report = bench::train(&request, options.loader, &device, &name, job)?;
    context.console.result(&report, || train_line(&report))
}

impl NetworkOptions {
    fn request(&self) -> Result<NetworkRequest> {
        let backbone: Backbone = self
            .model
            .named()
            .ok_or_else(|| anyhow!("{} cannot be trained; `bench infer` times it", self.model))?;
        let side = self.size.unwrap_or(32) as usize;
        let sides = backbone.info().sides;
        if !sides.contains(&side) {
            return Err(anyhow!("--size is {}..={} for {backbone}", sides.start(), sides.end()));
        }
        Ok(NetworkRequest {
            warm_up: WARM_UP,
            backbone,
            batch_size: self.batch as usize,
            input_size: side,
            classes: 100,
            steps: self.steps as usize,
            kernels: self.kernels,
            precision: Precision::Float32,
        })
    }
}

impl ShapeOptions {
    fn shape(&self) -> FeatureShape {
        let shape = FeatureShape {
            classes: self.classes as usize,
            features: self.features as usize,
            largest: self.largest as usize,
            ..FeatureShape::default()
        };
        self.samples.map_or(shape, |samples| shape.with_samples(samples as usize))
    }
}

fn train_line(report: &StepReport) -> String {
    let peak =
        report.peak_gflop_per_s.map(|peak| format!(" of at most {peak:.0}")).unwrap_or_default();
    format!(
        "training {} on {} in {}, batch {}, {side}×{side}: {:.1} images/s, {:.1} ms a step (median of {}), {:.0} GFLOP/s{peak}{}",
        report.backbone,
        report.device,
        report.precision,
        report.batch_size,
        report.images_per_s,
        report.ms_per_step,
        report.steps,
        report.gflop_per_s,
        memory(report.peak_memory_bytes),
        side = report.input_size,
    )
}

fn infer_line(report: &InferReport) -> String {
    let speed = report.gflop_per_s.map(|speed| format!(", {speed:.0} GFLOP/s")).unwrap_or_default();
    format!(
        "features of {}{} on {}, batch {}, {side}×{side}: {:.1} images/s, {:.1} ms a batch (median of {}){speed}{}",
        report.backbone,
        report.engine.map(|engine| format!(" by {engine}")).unwrap_or_default(),
        report.device,
        report.batch_size,
        report.images_per_s,
        report.ms_per_step,
        report.steps,
        memory(report.peak_memory_bytes),
        side = report.input_size,
    )
}

/// The loss of that name.
fn loss(name: &str) -> Result<ClassifierLoss, String> {
    let found = LOSSES.iter().find(|info| info.name == name);
    found.map(|info| info.loss).ok_or_else(|| {
        let names: Vec<_> = LOSSES.iter().map(|info| info.name).collect();
        format!("there is no such loss; there are {}", names.join(", "))
    })
}

fn stage2_line(report: &Stage2Report) -> String {
    let loss = |loss: &LossTime| {
        format!(
            "{:.3} s with {} ({:.0} samples/s, {:.0} GFLOP/s of at most {:.0})",
            loss.seconds,
            loss.loss.info().label,
            loss.samples_per_s,
            loss.gflop_per_s,
            report.peak_gflop_per_s
        )
    };
    format!(
        "stage 2, {} epochs of {} × {} features, {} classes, batch {}: {} (median of {}){}",
        report.epochs,
        report.samples,
        report.features,
        report.classes,
        report.batch_size,
        report.losses.iter().map(loss).collect::<Vec<_>>().join(", "),
        report.repeats,
        memory(report.peak_memory_bytes),
    )
}

fn tune_line(report: &TuneReport) -> String {
    format!(
        "tuning, {} candidates ({} trained) on {} × {} features, {} classes: {:.2} s on {}{}",
        report.candidates,
        report.trained_candidates,
        report.samples,
        report.features,
        report.classes,
        report.seconds,
        threads(report.threads),
        memory(report.peak_memory_bytes),
    )
}

fn decode_line(report: &DecodeReport) -> String {
    let unreadable = if report.unreadable > 0 {
        format!(" ({} unreadable)", report.unreadable)
    } else {
        String::new()
    };
    format!(
        "{} images{unreadable} on {}: scanned {:.0} images/s, decoded to {side}×{side} {:.0} images/s; both, seen for the first time \
         {:.0} images/s, known {:.0} images/s{}",
        report.images,
        threads(report.threads),
        report.scan_images_per_s,
        report.decode_images_per_s,
        report.first_images_per_s,
        report.known_images_per_s,
        memory(report.peak_memory_bytes),
        side = report.side,
    )
}

fn threads(count: usize) -> String {
    if count == 1 { "one thread".into() } else { format!("{count} threads") }
}

fn memory(bytes: Option<u64>) -> String {
    bytes
        .map(|bytes| format!(", at most {:.0} MB of memory", bytes as f64 / 1e6))
        .unwrap_or_default()
}
