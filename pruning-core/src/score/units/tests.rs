use super::*;

#[test]
fn a_unit_is_gone_when_nothing_is_left_of_it_in_any_parameter_that_makes_it() {
    let scores = [1.0; 4];
    let (left, right) = (Bits::from_bools(&[true, true, false, false]), Bits::from_bools(&[false, true, false, false]));
    fn elements<'a>(scores: &'a [f32], alive: Option<&'a Bits>) -> ElementScores<'a> {
        ElementScores::new(scores).with_alive(alive)
    }
    let units = [Some(0), Some(1)];
    let group = |makes, other: Option<&Bits>, other_makes| {
        Units::coupled(2)
            .with_part("a", elements(&scores, Some(&right)), [2, 2, 1], &units, makes)
            .with_part("b", elements(&scores, other), [1, 2, 2], &units, other_makes)
            .alive()
            .map(|alive| alive.to_bools())
    };
    assert_eq!(group(true, None, false), Some(vec![false, true]));
    assert_eq!(group(true, Some(&left), false), Some(vec![false, true]));
    assert_eq!(group(true, Some(&left), true), Some(vec![true, true]));
    assert_eq!(group(true, None, true), None, "a parameter without a mask makes all of them");
    assert_eq!(group(false, Some(&left), false), None);
}

#[test]
fn a_parameter_without_elements_is_no_part_of_a_score() {
    use crate::score::{Order, Reduction};
    let empty = Units::coupled(1).with_part("a", ElementScores::new(&[]), [0, 1, 4], &[Some(0)], true);
    assert_eq!(empty.reduce(Reduction::Sum, Order::Value).unwrap(), [0.0]);
}
