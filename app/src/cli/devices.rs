//! `counterweight devices`: what can train here.

use anyhow::Result;
use counterweight_core::device;

use super::Context;

const GIB: f64 = (1_u64 << 30) as f64;

pub fn run(context: &Context) -> Result<()> {
    let devices = device::devices();
    context.console.result(&devices, || {
        let mut lines = String::new();
        for device in &devices {
            let state = device
                .reason
                .as_ref()
                .map_or_else(|| "usable".to_string(), |reason| format!("not usable: {reason}"));
            let memory = device.memory_bytes.map_or_else(String::new, |bytes| {
                format!(", {:.1} GiB of memory", bytes as f64 / GIB)
            });
            lines += &format!("{:8} {}{memory} ({state})\n", device.name, device.description);
        }
        lines
    })
}
