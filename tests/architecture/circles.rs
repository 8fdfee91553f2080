//! Modules side by side that name each other.

use crate::source::{Name, Place, Source};
use std::collections::{BTreeMap, BTreeSet};

/// What modules side by side name of each other: from one to another, and where.
pub(crate) type Edges = BTreeMap<(String, String), Vec<Place>>;

/// Of each module the edges between its children.
pub(crate) fn edges(source: &Source) -> BTreeMap<Name, Edges> {
    let mut found: BTreeMap<Name, Edges> = BTreeMap::new();
    for (name, module) in &source.modules {
        for mention in &module.mentions {
            for target in source.resolve(name, &mention.path) {
                let common = name.iter().zip(&target).take_while(|(a, b)| a == b).count();
                // A parent and its child are no siblings.
                let (Some(from), Some(to)) = (name.get(common), target.get(common)) else { continue };
                // Errors hold the errors of what failed below, and of what asked above.
                if name.iter().chain(&target).any(|module| module == "error") {
                    continue;
                }
                let places = found.entry(name[..common].to_vec()).or_default().entry((from.clone(), to.clone()));
                places.or_default().push(mention.place.clone());
            }
        }
    }
    found
}

/// Modules that name each other, two by two; then the shortest circles that are left once these are cut.
pub(crate) fn circles(edges: &Edges) -> BTreeSet<Vec<String>> {
    let mutual = |(from, to): &(String, String)| edges.contains_key(&(to.clone(), from.clone()));
    let (pairs, others): (Vec<_>, Vec<_>) = edges.keys().cloned().partition(mutual);
    let pairs = pairs.into_iter().map(|(from, to)| turned(vec![from, to]));
    let longer = others.iter().filter_map(|(from, to)| shortest(&others, to, from)).map(turned);
    pairs.chain(longer).collect()
}

/// The modules on the shortest way from one to another.
fn shortest(edges: &[(String, String)], from: &str, to: &str) -> Option<Vec<String>> {
    let mut ways = vec![vec![from.to_string()]];
    let mut seen = BTreeSet::from([from]);
    while !ways.is_empty() {
        if let Some(way) = ways.iter().find(|way| way.last().is_some_and(|last| last == to)) {
            return Some(way.clone());
        }
        let mut further = Vec::new();
        for way in &ways {
            for (_, next) in edges.iter().filter(|(from, _)| Some(from) == way.last()) {
                if seen.insert(next) {
                    further.push(way.iter().chain([next]).cloned().collect());
                }
            }
        }
        ways = further;
    }
    None
}

/// The same circle from its first name on.
fn turned(mut circle: Vec<String>) -> Vec<String> {
    let first = (0..circle.len()).min_by_key(|&at| &circle[at]).unwrap_or(0);
    circle.rotate_left(first);
    circle
}

/// The lines that close a circle.
pub(crate) fn explain(edges: &Edges, circle: &[String]) -> String {
    let after = circle.iter().cycle().skip(1);
    let steps = circle.iter().zip(after).map(|(from, to)| {
        let mut places: Vec<_> = edges[&(from.clone(), to.clone())].iter().map(Place::to_string).collect();
        places.dedup();
        format!("    {from} names {to} in {}\n", places.join(", "))
    });
    steps.collect()
}

#[test]
fn a_pair_comes_before_longer_circles() {
    let pair = |from: &str, to: &str| (from.to_string(), to.to_string());
    let edges = |pairs: &[(&str, &str)]| pairs.iter().map(|(from, to)| (pair(from, to), Vec::new())).collect::<Edges>();
    let found = |pairs: &[(&str, &str)]| circles(&edges(pairs)).into_iter().map(|c| c.concat()).collect::<Vec<_>>();
    assert_eq!(found(&[("a", "b"), ("b", "c"), ("a", "c")]), Vec::<String>::new());
    assert_eq!(found(&[("b", "a"), ("a", "b"), ("b", "c"), ("c", "a")]), ["ab"]);
    assert_eq!(found(&[("c", "a"), ("a", "b"), ("b", "c"), ("d", "a")]), ["abc"]);
}
