//! Networks of the literature: they shrink, replay, and cost what is published.

mod costs;
mod joined;
mod parts;
mod plain;
mod published;
mod residual;
mod sequence;

use burn::backend::Flex;
use burn::tensor::{Device, Tolerance};
use parts::{Network, Port, ids, recorded};
use pruning_burn::sparse::{Options, SparseModel};
use pruning_burn::store::{Loaded, load, save};
use pruning_tests::shrinking::{Shrinks, channels, pruner, shrinks};
use pruning_tests::values::{base, same_bits};

/// At two sparsities.
fn is_shrunken<N: Shrinks>() {
    let mut left = (1.0, 1.0);
    for sparsity in [0.3, 0.6] {
        let (parameters, macs) = shrinks::<N>(&channels(sparsity, ""), 1e-4);
        assert!(parameters < left.0 && macs < left.1, "{parameters} and {macs} after {left:?}");
        left = (parameters, macs);
    }
}

/// The trace computes what the model does, and recording it changes nothing of the model.
fn is_replayed<N: Network>() {
    let device = Device::flex();
    let (network, x) = (N::small(&device), N::example(&device));
    let (weights, names, before) = (base(&network), ids(&network), network.infer(x.clone()).data());
    let trace = recorded(&network, &x);
    assert!(same_bits(&base(&network), &weights));
    assert_eq!(ids(&network), names);
    let y = trace.replay::<Flex, _>(&network, x.clone().values()).unwrap();
    assert_eq!(y.len(), 1);
    assert_eq!(N::Output::first(&y).data(), before);
    assert_eq!(network.infer(x).data(), before);
}

/// With nine of ten weights gone, and every product sparse, it computes what the model does; so does what is loaded from a file.
fn is_compiled<N: Network>() {
    let device = Device::flex();
    let (mut network, x) = (N::small(&device), N::example(&device));
    pruner("criterion = \"magnitude\"\nsparsity = 0.9").prune(&mut network, None).unwrap();
    let trace = recorded(&network, &x);
    let expected = network.infer(x.clone()).data();
    let sparse = SparseModel::compile([&trace], &network, &Options::every_product()).unwrap();
    let report = sparse.report();
    assert!(report.passes[0].layers.iter().all(|l| l.sparse) && !report.passes[0].layers.is_empty(), "{report}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    save(&sparse, &file).unwrap();
    let loaded = load(&file).and_then(Loaded::into_sparse_model).unwrap();
    assert_eq!(loaded.report(), report);
    let y = sparse.run(x.clone().values()).unwrap();
    // A pass leaves nothing behind that the next one could meet.
    let again = sparse.run(x.clone().values()).unwrap();
    let other = loaded.run(x.values()).unwrap();
    let (y, again, other) =
        (N::Output::first(&y).data(), N::Output::first(&again).data(), N::Output::first(&other).data());
    y.assert_approx_eq::<f32>(&expected, Tolerance::relative(1e-3).set_absolute(1e-4));
    assert_eq!(again, y);
    assert_eq!(other, y);
}

macro_rules! zoo {
    ($($name:ident: $network:ty;)+) => {$(
        mod $name {
            #[test]
            fn shrinks() {
                crate::is_shrunken::<$network>();
            }

            #[test]
            fn runs_sparse() {
                crate::is_compiled::<$network>();
            }

            #[test]
            fn replays() {
                crate::is_replayed::<$network>();
            }
        }
    )+};
}

zoo! {
    lenet_5: crate::plain::LeNet;
    vgg_16_bn: crate::plain::Vgg;
    resnet_18: crate::residual::ResNet18;
    resnet_50: crate::residual::ResNet50;
    resnet_20: crate::residual::ResNet20;
    resnet_56: crate::residual::ResNet56;
    mobilenet: crate::residual::MobileNet;
    densenet: crate::joined::DenseNet;
    shufflenet: crate::joined::ShuffleNet;
    unet: crate::joined::UNet;
    vit: crate::sequence::Vit;
    bert: crate::sequence::Bert;
    lstm: crate::sequence::LstmClassifier;
    gru: crate::sequence::GruClassifier;
}
