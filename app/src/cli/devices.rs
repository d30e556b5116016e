//! `counterweight devices`: what can train here.

use anyhow::Result;
use counterweight_core::device;

use super::Context;

pub fn run(context: &Context) -> Result<()> {
    let devices = device::devices();
    context.console.result(&devices, || {
        let mut lines = String::new();
        for device in &devices {
            let state = device.reason.as_ref().map_or_else(|| "usable".to_string(), |reason| format!("not usable: {reason}"));
            lines += &format!("{:8} {} ({state})\n", device.name, device.description);
        }
        lines
    })
}
