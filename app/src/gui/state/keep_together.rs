//! Keeping images together that belong together: finding out which do, and what that changes.

use std::mem::discriminant;
use std::sync::Arc;

use counterweight_core::Error;
use counterweight_core::dataset::{self, GroupBy, Grouped, Grouping};
use counterweight_core::error::DataError;

use super::next_revision;
use super::source::{Origin, Source};
use crate::gui::worker::{Failure, Worker};

/// The part of the data page that keeps images together.
#[derive(Default)]
pub struct KeepTogether {
    finding: Option<(GroupBy, Worker<Grouping>)>,
    comparing: Option<(u64, Worker<Grouped>)>,
    /// What was compared, and the state of the builder it is about.
    compared: Option<(u64, Grouped)>,
    /// The way that was asked for last, if nothing could be made of it, and the reason.
    failure: Option<(GroupBy, String)>,
    /// The pattern of names as it is being typed.
    pub pattern_text: String,
}

impl KeepTogether {
    /// Has images kept together in another way, once it is known which they are; nothing, without
    /// one.
    pub fn ask(&mut self, by: Option<GroupBy>, source: &mut Source, ctx: &egui::Context) {
        self.finding = None;
        self.failure = None;
        if let Some(GroupBy::Name { pattern }) = &by {
            self.pattern_text = pattern.clone().unwrap_or_default();
        }
        let Origin::Catalog { catalog, builder, .. } = &source.origin else { return };
        match by {
            Some(by) if builder.grouping(&by).is_none() => {
                let (catalog, way) = (Arc::clone(catalog), by.clone());
                let worker = Worker::spawn("keep-together", ctx, move |job| {
                    Grouping::of(&catalog, &way, job)
                });
                self.finding = Some((by, worker));
            }
            by => choose(by, source),
        }
    }

    /// Takes what was found and compared, and compares what has changed.
    pub fn poll(&mut self, source: Option<&mut Source>, ctx: &egui::Context) {
        let Some(source) = source else {
            *self = Self::default();
            return;
        };
        if let Some((_, worker)) = &mut self.finding
            && let Some(done) = worker.poll().done
            && let Some((by, _)) = self.finding.take()
        {
            match done {
                Ok(grouping) => {
                    if let Origin::Catalog { builder, .. } = &mut source.origin {
                        builder.learn(by.clone(), Arc::new(grouping));
                    }
                    choose(Some(by), source);
                }
                Err(Failure::Stopped) => {}
                Err(Failure::Failed(error)) => {
                    let reason = match error {
                        Error::Data(DataError::Build(reason)) => reason,
                        other => other.to_string(),
                    };
                    self.failure = Some((by, reason));
                }
            }
        }
        if let Some((_, worker)) = &mut self.comparing
            && let Some(done) = worker.poll().done
            && let Some((revision, _)) = self.comparing.take()
        {
            // Options that nothing can be built of are said to be so beside them.
            self.compared = done.ok().map(|grouped| (revision, grouped));
        }
        let revision = source.view.revision;
        let known = self.compared.as_ref().is_some_and(|(of, _)| *of == revision);
        let Origin::Catalog { catalog, builder, .. } = &source.origin else { return };
        if known || self.comparing.is_some() || builder.preview.is_err() {
            return;
        }
        let Some(by) = builder.options().group_by.clone() else {
            self.compared = None;
            return;
        };
        let Some(grouping) = builder.grouping(&by) else { return };
        let (catalog, options) = (Arc::clone(catalog), builder.options().clone());
        let worker = Worker::spawn("compare-splits", ctx, move |_| {
            dataset::grouped(&catalog, &options, &by, &grouping)
        });
        self.comparing = Some((revision, worker));
    }

    /// The way that is being looked into, or that nothing could be made of.
    pub fn asked(&self) -> Option<&GroupBy> {
        let finding = self.finding.as_ref().map(|(by, _)| by);
        finding.or(self.failure.as_ref().map(|(by, _)| by))
    }

    /// Whether it is being found out which images belong together.
    pub fn is_finding(&self) -> bool {
        self.finding.is_some()
    }

    /// Why images cannot be kept together in the way that was asked for last.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_ref().map(|(_, reason)| reason.as_str())
    }

    /// What keeping them together changes; of a moment ago while that is compared anew.
    pub fn compared(&self) -> Option<&Grouped> {
        self.compared.as_ref().map(|(_, grouped)| grouped)
    }

    /// Whether something is being worked on.
    pub fn is_busy(&self) -> bool {
        self.finding.is_some() || self.comparing.is_some()
    }
}

fn choose(by: Option<GroupBy>, source: &mut Source) {
    let Origin::Catalog { catalog, builder, .. } = &mut source.origin else { return };
    let mut options = builder.options().clone();
    let before = options.group_by.as_ref().map(discriminant);
    // Another number for the same way is part of one movement.
    let movement = (before == by.as_ref().map(discriminant)).then_some("keep together");
    options.keep_together(by, &catalog.classes);
    let catalog = Arc::clone(catalog);
    if *builder.options() != options {
        source.edition = next_revision();
    }
    builder.set(&catalog, options, movement);
    source.refresh();
}
