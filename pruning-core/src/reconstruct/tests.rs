//! Wrong layers and broken contracts are errors that say how.

use super::*;

type Answer = fn(&LayerProblem<'_>) -> Reconstructed;

#[derive(Debug)]
struct Says {
    chooses: bool,
    corrects: bool,
    answer: Answer,
}

impl Reconstruction for Says {
    fn chooses(&self) -> bool {
        self.chooses
    }

    fn corrects_bias(&self) -> bool {
        self.corrects
    }

    fn reconstruct(&self, layer: &LayerProblem<'_>) -> Result<Reconstructed, ReconstructionError> {
        Ok((self.answer)(layer))
    }
}

const WEIGHT: [f64; 4] = [1.0, 2.0, 3.0, 4.0];
const GRAM: [f64; 4] = [2.0, 1.0, 1.0, 2.0];

fn bits(bits: [u8; 4]) -> Bits {
    Bits::from_bools(&bits.map(|bit| bit == 1))
}

fn masked(layer: &LayerProblem<'_>) -> Vec<f64> {
    layer.weight.iter().enumerate().map(|(i, &w)| if layer.keep.get(i) { w } else { 0.0 }).collect()
}

#[test]
fn a_broken_contract_is_an_error_that_says_how() {
    let (keep, alive, bias) = (bits([1, 0, 1, 1]), bits([1, 0, 1, 1]), [0.5, 0.25]);
    let layer = LayerProblem::new("fc.weight", 2, 2, &WEIGHT, &keep, &GRAM);
    let with_bias = layer.with_alive(Some(&alive)).with_bias(Some(&bias));
    let pattern = layer.with_pattern(Some((1, 2)));
    let none = |layer: &LayerProblem<'_>| Reconstructed::new(vec![0.0; layer.weight.len()]);
    let cases: [(bool, bool, &LayerProblem<'_>, Answer, &str); 17] = [
        (false, false, &layer, |l| Reconstructed::new(masked(l)), ""),
        (false, false, &layer, |_| Reconstructed::new(vec![0.0; 3]), "3 weights instead of 2 x 2"),
        (
            false,
            false,
            &layer,
            |_| Reconstructed::new(vec![0.0, 0.0, f64::NAN, 0.0]),
            "the weight NaN at row 1, column 0",
        ),
        (false, false, &layer, |l| Reconstructed::new(l.weight.to_vec()), "the removed weight at row 0, column 1 is 2"),
        (
            false,
            false,
            &layer,
            |l| Reconstructed::new(masked(l)).with_bias(vec![0.0; 2]),
            "biases for a layer that has none",
        ),
        (
            false,
            false,
            &with_bias,
            |l| Reconstructed::new(masked(l)).with_bias(vec![0.0; 2]),
            "it returned biases, but does not say that it corrects them",
        ),
        (false, true, &with_bias, |l| Reconstructed::new(masked(l)).with_bias(vec![0.0; 2]), ""),
        (false, true, &with_bias, |l| Reconstructed::new(masked(l)).with_bias(vec![0.0]), "1 biases for 2 rows"),
        (
            false,
            true,
            &with_bias,
            |l| Reconstructed::new(masked(l)).with_bias(vec![0.0, f64::INFINITY]),
            "the bias inf",
        ),
        (
            false,
            false,
            &layer,
            |l| Reconstructed::new(masked(l)).with_keep(l.keep.clone()),
            "it returned a mask, but does not say that it chooses",
        ),
        (true, false, &layer, none, "it chooses, but returned no mask"),
        (
            true,
            false,
            &layer,
            |_| Reconstructed::new(vec![0.0; 4]).with_keep(Bits::ones(5)),
            "a mask of 5 for 2 x 2 weights",
        ),
        (
            true,
            false,
            &layer,
            |_| Reconstructed::new(vec![0.0; 4]).with_keep(Bits::ones(4)),
            "it keeps 4 weights instead of 3",
        ),
        (
            true,
            false,
            &with_bias,
            |_| Reconstructed::new(vec![0.0; 4]).with_keep(bits([0, 1, 1, 1])),
            "it keeps a weight that was pruned before, at row 0, column 1",
        ),
        (true, false, &layer, |_| Reconstructed::new(vec![0.0; 4]).with_keep(bits([0, 1, 1, 1])), ""),
        (true, false, &pattern, |_| Reconstructed::new(vec![0.0; 4]).with_keep(bits([0, 1, 1, 0])), ""),
        (
            true,
            false,
            &pattern,
            |_| Reconstructed::new(vec![0.0; 4]).with_keep(bits([0, 1, 1, 1])),
            "it keeps 2 of 2 weights from row 1, column 0 on, instead of 1",
        ),
    ];
    for (chooses, corrects, layer, answer, problem) in cases {
        match reconstruct(&Says { chooses, corrects, answer }, layer) {
            Ok(_) => assert_eq!(problem, ""),
            Err(error) => {
                let text = error.to_string();
                assert!(matches!(error, ReconstructionError::Contract { .. }) && !problem.is_empty(), "{text}");
                assert!(text.starts_with("fc.weight: ") && text.ends_with(problem), "{problem}: {text}");
            }
        }
    }
    let panics = Says { chooses: false, corrects: false, answer: |layer| panic!("no idea what {} is", layer.path) };
    let text = reconstruct(&panics, &layer).unwrap_err().to_string();
    assert!(text.ends_with("panicked: no idea what fc.weight is"), "{text}");
}

#[test]
fn a_wrong_layer_is_an_error_that_says_how() {
    let (keep, short) = (bits([1, 0, 1, 1]), Bits::ones(3));
    let alive = bits([0, 1, 1, 1]);
    let layer = LayerProblem::new("fc.weight", 2, 2, &WEIGHT, &keep, &GRAM);
    let nan = [1.0, f64::NAN];
    for (layer, problem) in [
        (LayerProblem { rows: 3, ..layer }, "the weights of a layer of 3 rows and 2 columns cannot have 4 numbers"),
        (LayerProblem { rows: usize::MAX, ..layer }, "2 columns cannot have 4 numbers"),
        (LayerProblem { keep: &short, ..layer }, "the mask of a layer of 2 rows and 2 columns cannot have 3 numbers"),
        (layer.with_alive(Some(&short)), "the earlier mask of a layer of 2 rows and 2 columns cannot have 3 numbers"),
        (
            LayerProblem { gram: &GRAM[..2], ..layer },
            "the Gram matrix of a layer of 2 rows and 2 columns cannot have 2 numbers",
        ),
        (layer.with_mean(Some(&GRAM)), "the mean of a layer of 2 rows and 2 columns cannot have 4 numbers"),
        (layer.with_bias(Some(&[])), "the bias of a layer of 2 rows and 2 columns cannot have 0 numbers"),
        (layer.with_mean(Some(&nan)), "number 1 of its mean is NaN"),
        (LayerProblem { gram: &[1.0, 0.0, 0.0, f64::INFINITY], ..layer }, "number 3 of its Gram matrix is inf"),
        (
            LayerProblem { gram: &[1.0, 0.0, 0.0, -1.0], ..layer },
            "entry 1 of the diagonal of its Gram matrix is -1, and must not be below 0",
        ),
        (
            LayerProblem { gram: &[1.0, 0.5, 0.0, 1.0], ..layer },
            "entries (0, 1) and (1, 0) of its Gram matrix are 0.5 and 0, and must be equal",
        ),
        (layer.with_alive(Some(&alive)), "its mask keeps the weight at row 0, column 0, which was pruned before"),
        (layer.with_pattern(Some((0, 2))), "0:2 is no pattern for 2 columns: n must be 1 to m, and m must divide them"),
        (layer.with_pattern(Some((3, 2))), "3:2 is no pattern for 2 columns: n must be 1 to m, and m must divide them"),
        (layer.with_pattern(Some((1, 4))), "1:4 is no pattern for 2 columns: n must be 1 to m, and m must divide them"),
    ] {
        let fine = Says { chooses: false, corrects: false, answer: |layer| Reconstructed::new(masked(layer)) };
        let text = reconstruct(&fine, &layer).unwrap_err().to_string();
        assert!(text.starts_with("fc.weight: ") && text.ends_with(problem), "{problem}: {text}");
    }
    let nothing = Bits::zeros(0);
    let empty = LayerProblem::new("fc.weight", 0, 2, &[], &nothing, &GRAM);
    let same = Says { chooses: false, corrects: false, answer: |layer| Reconstructed::new(masked(layer)) };
    assert_eq!(reconstruct(&same, &empty.with_bias(Some(&[]))).unwrap().weight, [0.0; 0]);
}
