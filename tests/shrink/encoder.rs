//! Burn's transformers on our attention: the same outputs, and heads that go.

use crate::models::sequence;
use burn::module::Module;
use burn::nn::activation::ActivationConfig;
use burn::nn::transformer::{self, TransformerEncoderConfig};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Bool, Device, Tensor};
use pruning_burn::nn::{TransformerEncoder, TransformerEncoderInput};
use pruning_burn::shrink::Fields;
use pruning_burn::trace::Scope;
use pruning_tests::models::filled;
use pruning_tests::shrinking::{Shrinks, channels, pruner, shrinks};
use pruning_tests::values::base;

/// Norms after or before, another activation, and attention to nothing.
fn configs() -> Vec<TransformerEncoderConfig> {
    let config = TransformerEncoderConfig::new(8, 12, 4, 2);
    vec![
        config.clone(),
        config.clone().with_norm_first(true),
        config.clone().with_quiet_softmax(true).with_activation(ActivationConfig::Relu),
        config.with_norm_first(true).with_layer_norm_eps(0.1).with_dropout(0.0),
    ]
}

fn masks(device: &Device) -> (Tensor<2, Bool>, Tensor<3, Bool>) {
    let pad = Tensor::<2>::from_floats([[0., 0., 0., 0., 1.], [0., 0., 0., 1., 1.]], device).greater_elem(0.5);
    let attn = Tensor::<2>::ones([5, 5], device).triu(1).unsqueeze::<3>().repeat_dim(0, 2).greater_elem(0.5);
    (pad, attn)
}

#[test]
fn outputs_and_weights_are_those_of_burns_encoder() {
    let device = Device::flex();
    let (pad, attn) = masks(&device);
    let x = sequence(&device, 8);
    for config in configs() {
        let burns = filled(config.init(&device), 61);
        let ours = TransformerEncoder::from(burns.clone());
        let input = transformer::TransformerEncoderInput::new(x.clone());
        let masked = burns.forward(input.mask_pad(pad.clone()).mask_attn(attn.clone()));
        let input = TransformerEncoderInput::new(x.clone());
        let y = ours.forward(input.mask_pad(pad.clone()).mask_attn(attn.clone()));
        assert_eq!(y.into_data(), masked.into_data());
        let plain = burns.forward(transformer::TransformerEncoderInput::new(x.clone()));
        assert_eq!(ours.forward(TransformerEncoderInput::new(x.clone())).into_data(), plain.into_data());
        let ids = |model: &TransformerEncoder| model.layers[1].mha.out.weight.id;
        assert_eq!(ids(&ours), burns.layers[1].mha.output.weight.id);
        assert_eq!(ours.num_params(), burns.num_params());
        assert_eq!(base(&ours).len(), base(&burns).len());
    }
}

#[derive(Module, Debug)]
struct Classifier<const CONFIG: usize> {
    encoder: TransformerEncoder,
    head: Linear,
}

impl<const CONFIG: usize> Shrinks for Classifier<CONFIG> {
    fn new(device: &Device) -> Self {
        let encoder = TransformerEncoder::from(configs()[CONFIG].init(device));
        filled(Self { encoder, head: LinearConfig::new(8, 3).init(device) }, 62)
    }

    fn forward(&self, scope: &mut Scope, device: &Device) {
        let x = scope.input(&sequence(device, 8));
        let (pad, attn) = masks(device);
        let (pad, attn) = (scope.input(&pad), scope.input(&attn));
        let x = self.encoder.forward(TransformerEncoderInput::new(x).mask_pad(pad).mask_attn(attn));
        scope.output(self.head.forward(x));
    }

    fn set(&mut self, fields: &mut Fields) {
        for (i, layer) in self.encoder.layers.iter_mut().enumerate() {
            fields.set(&format!("encoder.layers.{i}.mha.d_k"), &mut layer.mha.d_k);
        }
    }
}

#[test]
fn heads_and_inner_channels_of_a_stock_encoder_go() {
    let heads = pruner("criterion = \"magnitude\"\nsparsity = 0.5\ngranularity = \"head\"");
    for (parameters, macs) in [
        shrinks::<Classifier<0>>(&heads, 1e-5),
        shrinks::<Classifier<1>>(&heads, 1e-5),
        shrinks::<Classifier<2>>(&heads, 1e-5),
        shrinks::<Classifier<3>>(&heads, 1e-5),
        shrinks::<Classifier<0>>(&channels(0.5, ""), 1e-5),
    ] {
        assert!(parameters < 0.9 && macs < 0.9, "{parameters} {macs}");
    }
}
