use crate::graph::solve::*;

/// Positions that go with each unit of the only group that has `member`.
fn positions(groups: &Groups, param: ParamIndex, axis: usize) -> Vec<Vec<usize>> {
    let member = Member { param, axis };
    let mut found = Vec::new();
    for group in &groups.groups {
        if let Some(at) = group.members.iter().position(|m| *m == member) {
            found.extend(group.units.iter().map(|u| u.positions[at].clone()));
        }
    }
    found
}

fn fix(graph: &mut AxisGraph, param: ParamIndex, axes: &[usize]) {
    for &axis in axes {
        let dim = graph.dims(param)[axis].clone();
        graph.pin(&dim, "outside");
    }
}

#[test]
fn two_layers_share_their_channels_and_ends_stay() {
    let mut g = AxisGraph::new();
    let (a, b) = (g.param(&[3, 4]), g.param(&[4, 2]));
    fix(&mut g, a, &[0]);
    fix(&mut g, b, &[1]);
    let (x, y) = (g.dims(a)[1].clone(), g.dims(b)[0].clone());
    g.join(&x, &y, true, "matmul");
    let groups = g.solve(Factor::Inner);
    assert_eq!(groups.groups.len(), 1);
    assert_eq!(groups.groups[0].members, [Member { param: a, axis: 1 }, Member { param: b, axis: 0 }]);
    assert_eq!(groups.groups[0].units.len(), 4);
    assert!(groups.groups[0].units.iter().all(|u| u.positions[0] == u.positions[1]));
    assert_eq!(groups.pinned.len(), 2);
    assert_eq!(groups.pinned[0].why, "outside");
}

#[test]
fn flattening_repeats_a_channel_and_a_roll_joins_all_that_it_reaches() {
    let mut g = AxisGraph::new();
    let (conv, fc) = (g.param(&[3]), g.param(&[12]));
    let channels = g.dims(conv)[0].clone();
    let flat = g.reshape(&[Dim::Fixed(5), channels, Dim::Fixed(2), Dim::Fixed(2)], &[5, 12], "flatten");
    let columns = g.dims(fc)[0].clone();
    g.join(&flat[1], &columns, true, "matmul");
    let groups = g.solve(Factor::Inner);
    assert_eq!(positions(&groups, fc, 0), [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9, 10, 11]]);

    let mut g = AxisGraph::new();
    let p = g.param(&[6]);
    let x = g.dims(p)[0].clone();
    let (front, back) = (g.take(&x, 0..2), g.take(&x, 2..6));
    let rolled = g.concat(&[back, front]);
    g.join(&x, &rolled, false, "add");
    let groups = g.solve(Factor::Inner);
    assert_eq!(positions(&groups, p, 0), [vec![0, 2, 4], vec![1, 3, 5]]);
}

#[test]
fn a_split_axis_gives_whole_heads_or_the_same_positions_of_each() {
    let build = || {
        let mut g = AxisGraph::new();
        let (q, k) = (g.param(&[6]), g.param(&[6]));
        let (x, y) = (g.dims(q)[0].clone(), g.dims(k)[0].clone());
        let x = g.reshape(&[x], &[2, 3], "heads");
        let y = g.reshape(&[y], &[2, 3], "heads");
        g.join(&x[0], &y[0], true, "matmul");
        g.join(&x[1], &y[1], true, "matmul");
        (g, q, k)
    };
    let (g, q, k) = build();
    let heads = g.solve(Factor::Outer);
    assert_eq!(positions(&heads, q, 0), [vec![0, 1, 2], vec![3, 4, 5]]);
    assert_eq!(positions(&heads, k, 0), positions(&heads, q, 0));
    assert!(heads.groups[0].split);
    let inner = g.solve(Factor::Inner);
    assert_eq!(positions(&inner, k, 0), [vec![0, 3], vec![1, 4], vec![2, 5]]);
}

#[test]
fn a_factor_that_must_stay_leaves_the_other_one() {
    let mut g = AxisGraph::new();
    let q = g.param(&[6]);
    let x = g.dims(q)[0].clone();
    let x = g.reshape(&[x], &[2, 3], "groups");
    g.pin(&x[1], "mean");
    let groups = g.solve(Factor::Inner);
    assert_eq!(positions(&groups, q, 0), [vec![0, 1, 2], vec![3, 4, 5]]);
    g.pin_at(&x[0], 0, "first group");
    assert_eq!(positions(&g.solve(Factor::Inner), q, 0), [vec![3, 4, 5]]);
}

#[test]
fn a_choice_that_leads_nowhere_is_taken_back() {
    let mut g = AxisGraph::new();
    let (q, s) = (g.param(&[6]), g.param(&[6]));
    let x = g.dims(q)[0].clone();
    let parts = g.reshape(&[x], &[2, 3], "heads");
    // Another split, of which every inner position is tied to an outer one of the first.
    let y = g.dims(s)[0].clone();
    let other = g.reshape(&[y], &[3, 2], "heads");
    g.join(&parts[1], &other[0], true, "matmul");
    g.pin(&other[1], "softmax");
    let groups = g.solve(Factor::Outer);
    assert!(!positions(&groups, q, 0).is_empty());
}

#[test]
fn shuffled_channels_move_with_their_groups() {
    // [c] -> [2, 3] -> [3, 2] -> [c], then added to another parameter in the new order.
    let mut g = AxisGraph::new();
    let (a, b) = (g.param(&[6]), g.param(&[6]));
    let x = g.dims(a)[0].clone();
    let parts = g.reshape(&[x], &[2, 3], "shuffle");
    let shuffled = g.reshape(&[parts[1].clone(), parts[0].clone()], &[6], "shuffle");
    let y = g.dims(b)[0].clone();
    g.join(&shuffled[0], &y, true, "matmul");
    let groups = g.solve(Factor::Inner);
    assert_eq!(positions(&groups, a, 0), [vec![0, 3], vec![1, 4], vec![2, 5]]);
    assert_eq!(positions(&groups, b, 0), [vec![0, 1], vec![2, 3], vec![4, 5]]);
}

#[test]
fn axes_that_do_not_fit_stay() {
    let mut g = AxisGraph::new();
    let (a, b) = (g.param(&[4]), g.param(&[6]));
    let (x, y) = (g.dims(a)[0].clone(), g.dims(b)[0].clone());
    assert_eq!(g.broadcast(std::slice::from_ref(&x), &[y], true, "of unlike sizes")[0].len(), 6);
    assert_eq!(g.reshape(&[x], &[5], "of unlike sizes")[0].len(), 5);
    let groups = g.solve(Factor::Inner);
    assert!(groups.groups.is_empty());
    assert!(groups.pinned.iter().all(|p| p.why == "of unlike sizes") && groups.pinned.len() == 2);
}
