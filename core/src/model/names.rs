//! The names of a network's parameters.

/// The name of the parameter at this place in a module: fields joined by dots, as torchvision and
/// the authors of pretrained files write it.
///
/// Which family a backbone is of and the field that holds it say nothing that a file needs:
/// `backbone.ResNet.conv1.weight` is `conv1.weight`. Variants of enums are told by their capital.
pub(crate) fn parameter_name<'a>(path: impl IntoIterator<Item = &'a str>) -> String {
    let is_told = |part: &&str| {
        *part != "backbone" && !part.starts_with(|first: char| first.is_ascii_uppercase())
    };
    path.into_iter().filter(is_told).collect::<Vec<_>>().join(".")
}

/// Where a visitor of modules is.
#[derive(Clone, Debug, Default)]
pub(crate) struct ModulePath(Vec<String>);

impl ModulePath {
    pub fn enter(&mut self, name: &str) {
        self.0.push(name.to_string());
    }

    pub fn exit(&mut self) {
        self.0.pop();
    }

    /// The name of the parameter here.
    pub fn name(&self) -> String {
        parameter_name(self.0.iter().map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_family_is_no_part_of_a_name() {
        assert_eq!(
            parameter_name("backbone.ResNet.layer1.0.bn1.running_mean".split('.')),
            "layer1.0.bn1.running_mean"
        );
        assert_eq!(parameter_name(["fc", "weight"]), "fc.weight");
    }
}
