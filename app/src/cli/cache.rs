//! `counterweight cache`: what is kept of pretrained backbones' features.

use anyhow::{Result, anyhow};
use counterweight_core::features::{FeatureCache, Usage};
use serde_json::json;

use super::{Context, tables};
use crate::gui::widgets::numbers;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Remove all of it: features are computed again when they are needed
    Clear,
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<()> {
    let cache = FeatureCache::standard()
        .ok_or_else(|| anyhow!("this system has no folder for caches; COUNTERWEIGHT_CACHE can name one to keep features in"))?;
    match arguments.action {
        None => show(&cache, context),
        Some(Action::Clear) => clear(&cache, context),
    }
}

fn show(cache: &FeatureCache, context: &Context) -> Result<()> {
    let usage = cache.usage()?;
    for warning in &usage.warnings {
        context.console.line(&format!("warning: {warning}"));
    }
    context.console.result(&usage, || text(&usage))
}

fn text(usage: &Usage) -> String {
    let mut text = format!(
        "{}: {} of at most {}",
        usage.folder.display(),
        numbers::bytes(usage.bytes),
        numbers::bytes(usage.limit_bytes)
    );
    match usage.spaces.is_empty() {
        true => text += "\nno features are kept",
        false => text += &format!("\n\n{}", tables::cache(usage)),
    }
    for path in &usage.unusable {
        text += &format!("\nnot usable: {path}");
    }
    text
}

fn clear(cache: &FeatureCache, context: &Context) -> Result<()> {
    let freed = cache.clear()?;
    let folder = cache.folder();
    let result = json!({ "folder": folder, "freed_bytes": freed });
    context
        .console
        .result(&result, || format!("{}: {} freed", folder.display(), numbers::bytes(freed)))
}
