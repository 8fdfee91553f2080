//! Recording, replay, costs and groups.

use burn::tensor::{Device, Tensor};
use pruning_burn::trace::{Trace, Values};
use pruning_tests::models::{Cnn, Mlp};

#[test]
fn replay_equals_forward() {
    let device = Device::flex();
    let model = Cnn::new(&device, 3);
    let x = Tensor::<4>::random([2, 3, 8, 8], burn::tensor::Distribution::Default, &device);
    let trace = Trace::record(&model, |m, s| {
        let x = s.input(&x);
        s.output(m.forward(x));
    })
    .unwrap();
    println!("{}", trace.costs());
    let y: Tensor<2> =
        trace.replay::<burn::backend::Flex, _>(&model, Values::new().with(x.clone())).unwrap().get(0).unwrap();
    assert_eq!(y.into_data(), model.forward(x).into_data());
    let _ = Mlp::new(&device, 3);
}
