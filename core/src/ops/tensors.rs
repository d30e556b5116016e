//! Lists of tensors as arguments and results of operations. burn knows structs of tensors only.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, BackendTensor, Dispatch, DispatchAutodiffContext, DispatchTensor, DispatchTensorKind, ExtensionType};

/// Any number of float tensors on one device.
pub(super) struct Tensors<B: Backend>(pub Vec<FloatTensor<B>>);

impl<B: Backend> ExtensionType<B> for Tensors<B> {
    type Target = Tensors<Dispatch>;

    fn map_to_dispatch<F>(self, map_kind: F, autodiff: DispatchAutodiffContext) -> Tensors<Dispatch>
    where
        F: Fn(BackendTensor<B>) -> DispatchTensorKind,
    {
        let wrap = |tensor| DispatchTensor { kind: map_kind(BackendTensor::Float(tensor)), autodiff };
        Tensors(self.0.into_iter().map(wrap).collect())
    }

    fn map_from_dispatch<F>(target: Tensors<Dispatch>, unwrap_kind: F) -> Self
    where
        F: Fn(DispatchTensor) -> BackendTensor<B>,
    {
        Self(target.0.into_iter().map(|tensor| unwrap_kind(tensor).float()).collect())
    }

    fn routing_tensor(target: &Tensors<Dispatch>) -> Option<&DispatchTensor> {
        target.0.first()
    }

    fn routing_float_tensor(target: &Tensors<Dispatch>) -> Option<&DispatchTensor> {
        target.0.first()
    }

    fn autodiff_context(target: &Tensors<Dispatch>) -> DispatchAutodiffContext {
        target.0.iter().fold(DispatchAutodiffContext::Disabled, |context, tensor| context.merge(tensor.autodiff))
    }
}

/// What burn's fusion asks of arguments and results, tensor by tensor.
#[cfg(feature = "gpu")]
mod fused {
    use std::vec::IntoIter;

    use burn::backend::fusion::custom::{Float, FusionValueAdapter, HandleContainer, OutputTensor, TensorId, TensorIr, TensorSpec};
    use burn::backend::fusion::{ExecutionError, Fusion, FusionBackend, FusionRuntime, FusionTensor};

    use super::Tensors;

    type Handles<B> = HandleContainer<<<B as FusionBackend>::FusionRuntime as FusionRuntime>::FusionHandle>;
    type Fused<B> = FusionTensor<<B as FusionBackend>::FusionRuntime>;

    impl<B: FusionBackend> FusionValueAdapter<B> for Tensors<B> {
        type Metadata = Vec<TensorSpec>;
        type Input = Vec<TensorIr>;
        type Output = Vec<OutputTensor>;
        type Inner = Tensors<B>;
        type Fused = Tensors<Fusion<B>>;

        fn to_metadata(value: &Tensors<Fusion<B>>) -> Vec<TensorSpec> {
            value.0.iter().map(<Float as FusionValueAdapter<B>>::to_metadata).collect()
        }

        fn visit_fused_tensors(value: &Tensors<Fusion<B>>, visit: &mut impl FnMut(&Fused<B>)) {
            value.0.iter().for_each(visit);
        }

        fn tensor_count(specs: &Vec<TensorSpec>) -> usize {
            specs.len()
        }

        fn append_input_ir(value: Tensors<Fusion<B>>, inputs: &mut Vec<TensorIr>) -> Vec<TensorIr> {
            value.0.into_iter().map(|tensor| <Float as FusionValueAdapter<B>>::append_input_ir(tensor, inputs)).collect()
        }

        fn resolve_inputs(inputs: &Vec<TensorIr>, handles: &mut Handles<B>) -> Tensors<B> {
            Tensors(inputs.iter().map(|input| <Float as FusionValueAdapter<B>>::resolve_inputs(input, handles)).collect())
        }

        fn append_output_ir(specs: &Vec<TensorSpec>, out: &mut Vec<TensorIr>, create: &mut impl FnMut() -> TensorId) -> Vec<OutputTensor> {
            specs.iter().map(|spec| <Float as FusionValueAdapter<B>>::append_output_ir(spec, out, create)).collect()
        }

        fn validate_outputs(value: &Tensors<B>, outputs: &Vec<OutputTensor>, device: Option<&B::Device>) -> Result<(), ExecutionError> {
            let mut pairs = value.0.iter().zip(outputs);
            pairs.try_for_each(|(tensor, output)| <Float as FusionValueAdapter<B>>::validate_outputs(tensor, output, device))
        }

        fn register_output_handles(value: Tensors<B>, outputs: &Vec<OutputTensor>, handles: &mut Handles<B>) {
            for (tensor, output) in value.0.into_iter().zip(outputs) {
                <Float as FusionValueAdapter<B>>::register_output_handles(tensor, output, handles);
            }
        }

        fn build_fused_output(specs: &Vec<TensorSpec>, tensors: &mut IntoIter<Fused<B>>) -> Tensors<Fusion<B>> {
            Tensors(specs.iter().map(|spec| <Float as FusionValueAdapter<B>>::build_fused_output(spec, tensors)).collect())
        }
    }
}
