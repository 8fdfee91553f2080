//! Sentences that nobody said, for a run without any file.

use crate::sts::{Pairs, Words};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, json};
use std::str::FromStr;
use tokenizers::Tokenizer;

const WORDS: [[&str; 6]; 4] = [
    ["a", "the", "one", "some", "this", "that"],
    ["cat", "dog", "bird", "child", "man", "woman"],
    ["sees", "hears", "likes", "finds", "follows", "leaves"],
    ["water", "music", "bread", "snow", "light", "home"],
];

/// The number of tokens of [`sentences`]: the words, and one for any other.
pub const TOKENS: usize = 25;

/// Pairs of made-up sentences, whose score is the number of words that both have in one place, and a tokenizer for their words.
///
/// # Errors
/// Those of the tokenizer.
pub fn sentences(pairs: usize, longest: usize) -> Result<(Words, Pairs), tokenizers::Error> {
    let vocabulary: Map<_, _> =
        ["[UNK]"].into_iter().chain(WORDS.concat()).enumerate().map(|(i, word)| (word.to_string(), i.into())).collect();
    let description = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": { "type": "WhitespaceSplit" }, "post_processor": null, "decoder": null,
        "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]" },
    });
    let words = Words::new(Tokenizer::from_str(&description.to_string())?, longest)?;

    let mut random = StdRng::seed_from_u64(0);
    let rows = (0..pairs).map(|_| {
        // From one word to twelve, in rounds of the four kinds.
        let length = random.random_range(1..=12);
        let mut sentence = || -> Vec<&str> { (0..length).map(|i| WORDS[i % 4][random.random_range(0..6)]).collect() };
        let (first, second) = (sentence(), sentence());
        let shared = first.iter().zip(&second).filter(|(a, b)| a == b).count();
        (first.join(" "), second.join(" "), shared as f64)
    });
    Ok((words, Pairs { rows: rows.collect() }))
}
