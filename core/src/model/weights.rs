//! A network's weights by name, in and out.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};

use super::names::ModulePath;
use crate::waiting::wait_for;

/// A float32 tensor on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// Its name, such as `layer1.0.conv1.weight`.
    pub name: String,
    /// Lengths of the axes.
    pub shape: Vec<usize>,
    /// Values, row-major.
    pub values: Vec<f32>,
}

/// Every weight and running statistic of a module, by name.
pub fn weights<M: Module>(module: &M) -> Vec<NamedTensor> {
    struct Collect {
        path: ModulePath,
        found: Vec<NamedTensor>,
    }
    impl ModuleVisitor for Collect {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.enter(name);
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.found.push(named(self.path.name(), param.val()));
        }
    }
    let mut collect = Collect { path: ModulePath::default(), found: Vec::new() };
    module.visit(&mut collect);
    collect.found
}

/// A tensor copied to the host under a name.
pub(crate) fn named<const D: usize>(name: String, tensor: Tensor<D>) -> NamedTensor {
    let shape = tensor.dims().to_vec();
    // As where burn reads them: who asks for it on a GPU catches panics.
    let data = match wait_for(tensor.into_data_async()) {
        Ok(read) => read.expect("tensors can be read"),
        Err(lost) => panic!("{lost}"),
    };
    let values = data.try_into_vec_as::<f32>().expect("float tensors convert to f32");
    NamedTensor { name, shape, values }
}

/// The module with every weight and running statistic replaced by the one of the same name.
///
/// # Errors
/// A sentence naming the first tensor that is missing or has another shape. Names the module does
/// not have are ignored, so torchvision's `num_batches_tracked` does no harm.
pub fn load_weights<M: Module>(module: M, tensors: Vec<NamedTensor>) -> Result<M, String> {
    struct Replace {
        path: ModulePath,
        tensors: BTreeMap<String, NamedTensor>,
        wrong: Option<String>,
    }
    impl ModuleMapper for Replace {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.enter(name);
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.exit();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if self.wrong.is_some() {
                return param;
            }
            let name = self.path.name();
            let Some(tensor) = self.tensors.remove(&name) else {
                self.wrong = Some(format!("there is no tensor `{name}`"));
                return param;
            };
            let shape = param.val().dims();
            if tensor.shape != shape || tensor.values.len() != shape.iter().product::<usize>() {
                self.wrong =
                    Some(format!("`{name}` has shape {:?} and not {shape:?}", tensor.shape));
                return param;
            }
            param.map(|old| {
                let new = Tensor::from_data(TensorData::new(tensor.values, shape), &old.device());
                new.set_require_grad(old.is_require_grad())
            })
        }
    }
    let tensors = tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
    let mut replace = Replace { path: ModulePath::default(), tensors, wrong: None };
    let module = module.map(&mut replace);
    match replace.wrong {
        Some(wrong) => Err(wrong),
        None => Ok(module),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::model::{Mode, Network, NetworkConfig};
    use crate::settings::{Backbone, Stem};

    fn config(backbone: Backbone, stem: Stem) -> NetworkConfig {
        NetworkConfig { backbone, stem, input_size: 16, classes: 7 }
    }

    #[test]
    fn names_are_torchvisions() {
        for (backbone, parameters, kernels) in [
            (Backbone::ResNet50, 25_557_032, [64, 64, 3, 3]),
            (Backbone::ResNeXt50, 25_028_904, [128, 4, 3, 3]),
        ] {
            let config = NetworkConfig { classes: 1000, ..config(backbone, Stem::Imagenet) };
            let tensors = weights(&Network::new(&config, 0, &Device::flex()));
            let names: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
            for name in [
                "conv1.weight",
                "bn1.running_var",
                "layer1.0.downsample.0.weight",
                "layer1.0.downsample.1.running_mean",
                "layer3.5.conv3.weight",
                "layer4.2.bn3.bias",
                "fc.weight",
                "fc.bias",
            ] {
                assert!(names.contains(&name), "{name} is missing from {names:?}");
            }
            // torchvision's resnet50 and resnext50_32x4d have 161 parameters and 106 running
            // statistics.
            assert_eq!(names.len(), 161 + 106);
            let learnt = tensors.iter().filter(|tensor| !tensor.name.contains("running"));
            assert_eq!(learnt.map(|tensor| tensor.values.len()).sum::<usize>(), parameters);
            let second =
                tensors.iter().find(|tensor| tensor.name == "layer1.0.conv2.weight").unwrap();
            assert_eq!(second.shape, kernels);
        }
    }

    #[test]
    fn weights_survive_a_round_trip_and_wrong_ones_are_named() {
        let device = Device::flex();
        let config = config(Backbone::ResNet20, Stem::Small);
        let one = Network::new(&config, 1, &device);
        let two = load_weights(Network::new(&config, 2, &device), weights(&one)).unwrap();
        assert_eq!(weights(&one), weights(&two));
        let x = Tensor::<4>::ones([1, 3, 16, 16], &device);
        assert_eq!(
            one.forward(x.clone(), Mode::Evaluate).into_data(),
            two.forward(x, Mode::Evaluate).into_data()
        );
        let mut short = weights(&one);
        short.retain(|w| w.name != "layer2.0.bn1.bias");
        assert!(load_weights(two.clone(), short).unwrap_err().contains("layer2.0.bn1.bias"));
        let mut wrong = weights(&one);
        wrong[0].shape = vec![1];
        assert!(load_weights(two, wrong).unwrap_err().contains("conv1.weight"));
    }

    #[test]
    fn any_input_side_is_taken() {
        let device = Device::flex();
        for (stem, side) in
            [(Stem::Small, 8), (Stem::Small, 33), (Stem::Imagenet, 8), (Stem::Imagenet, 65)]
        {
            let network = Network::new(&config(Backbone::ResNet18, stem), 0, &device);
            let logits =
                network.forward(Tensor::<4>::ones([2, 3, side, side], &device), Mode::Train);
            assert_eq!(logits.dims(), [2, 7]);
        }
    }
}
