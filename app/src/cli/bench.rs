//! `counterweight bench`: how fast this machine trains.

use anyhow::{Result, anyhow};
use counterweight_core::device;
use counterweight_core::job::Job;
use counterweight_core::model::Kernels;
use counterweight_core::pipeline::{self, BenchRequest};
use counterweight_core::settings::Backbone;

use super::Context;
use super::options::DeviceOption;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The network: resnet20, resnet32, resnet44, resnet56, resnet18, resnet34 or resnet50
    #[arg(long, value_name = "MODEL", default_value = "resnet32", value_parser = backbone)]
    model: Backbone,
    /// Samples a step
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..=65536))]
    batch: u32,
    /// Side of the input in pixels
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(8..=512))]
    size: u32,
    /// Steps to time
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    steps: u32,
    /// Who computes on the CPU: own (this program's kernels) or burn (the tensor library's, for comparison)
    #[arg(long, value_name = "WHOSE", default_value = "own", value_parser = kernels)]
    kernels: Kernels,
    #[command(flatten)]
    device: DeviceOption,
}

fn backbone(text: &str) -> Result<Backbone> {
    let names = || Backbone::ALL.map(Backbone::name).join(", ");
    Backbone::ALL.into_iter().find(|b| b.name() == text).ok_or_else(|| anyhow!("no such model; there is {}", names()))
}

fn kernels(text: &str) -> Result<Kernels> {
    match text {
        "own" => Ok(Kernels::Own),
        "burn" => Ok(Kernels::Burn),
        _ => Err(anyhow!("there are only `own` and `burn`")),
    }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<()> {
    let (device, name) = device::open(arguments.device.device)?;
    let request = BenchRequest {
        backbone: arguments.model,
        batch_size: arguments.batch as usize,
        input_size: arguments.size as usize,
        classes: 100,
        steps: arguments.steps as usize,
        kernels: arguments.kernels,
    };
    let report = pipeline::bench(&request, &device, &name, Job::new(&context.control, &context.console))?;
    context.console.result(&report, || {
        format!(
            "{} on {}, batch {}, {side}×{side}: {:.1} images/s, {:.1} ms a step (median of {})",
            report.backbone,
            report.device,
            report.batch_size,
            report.images_per_s,
            report.ms_per_step,
            report.steps,
            side = report.input_size,
        )
    })
}
