//! Pairs of sentences that people scored for how alike they are, and how well vectors of sentences agree with them.

use crate::bert::Sentences;
use burn::tensor::{Device, Tensor};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use tokenizers::{PaddingParams, Tokenizer, TruncationParams};

/// Pairs of sentences with their scores, as in the files of STS-B.
#[derive(Clone, Debug)]
pub struct Pairs {
    /// Both sentences of each pair, and the score: higher is more alike.
    pub rows: Vec<(String, String, f64)>,
}

impl Pairs {
    /// Reads a CSV file of two sentences and a score a line, without a header.
    ///
    /// # Errors
    /// The file cannot be read, has no line, or a line has other columns.
    pub fn read(path: &Path) -> Result<Self, StsError> {
        let failed = |reason: String| StsError { file: path.to_path_buf(), reason };
        let reader = csv::ReaderBuilder::new().has_headers(false).from_path(path);
        let mut reader = reader.map_err(|error| failed(error.to_string()))?;
        let rows: Vec<_> = reader.deserialize().collect::<Result<_, _>>().map_err(|error| failed(error.to_string()))?;
        match rows.is_empty() {
            true => Err(failed("there is no pair in it".to_string())),
            false => Ok(Self { rows }),
        }
    }

    /// The sentences in the order of the file: both of each line in turn.
    pub fn sentences(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().flat_map(|(first, second, _)| [first.as_str(), second.as_str()])
    }
}

/// A file that does not hold what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", file.display())]
pub struct StsError {
    /// The file.
    pub file: PathBuf,
    /// Why.
    pub reason: String,
}

/// A tokenizer that neither pads nor gives more tokens than the network takes.
#[derive(Clone, Debug)]
pub struct Words {
    tokenizer: Tokenizer,
    padding: u32,
}

impl Words {
    /// Loads a `tokenizer.json`; `longest` is the most tokens that the network takes.
    ///
    /// # Errors
    /// The file cannot be read or is no tokenizer.
    pub fn load(path: &Path, longest: usize) -> Result<Self, StsError> {
        let tokenizer = Tokenizer::from_file(path)
            .map_err(|error| StsError { file: path.to_path_buf(), reason: error.to_string() })?;
        Self::new(tokenizer, longest).map_err(|error| StsError { file: path.to_path_buf(), reason: error.to_string() })
    }

    /// Takes over a tokenizer; it cuts sentences where it did, or at `longest` tokens.
    ///
    /// # Errors
    /// The tokenizer cannot cut at so many tokens.
    pub fn new(mut tokenizer: Tokenizer, longest: usize) -> Result<Self, tokenizers::Error> {
        let padding = tokenizer.get_padding().map_or(0, |padding: &PaddingParams| padding.pad_id);
        let mut cut: TruncationParams = tokenizer.get_truncation().cloned().unwrap_or_default();
        // Batches are padded to a multiple of eight.
        cut.max_length = cut.max_length.min(longest / 8 * 8);
        tokenizer.with_truncation(Some(cut))?.with_padding(None);
        Ok(Self { tokenizer, padding })
    }

    /// Batches of sentences of similar length, shortest first, each padded to a multiple of eight tokens.
    ///
    /// Few shapes occur that way, and little padding.
    ///
    /// # Errors
    /// A sentence cannot be tokenized.
    pub fn batches<'a>(
        &self,
        sentences: impl IntoIterator<Item = &'a str>,
        device: &Device,
    ) -> Result<Batches, tokenizers::Error> {
        const BATCH: usize = 32;
        let sentences: Vec<&str> = sentences.into_iter().collect();
        let encoded = self.tokenizer.encode_batch(sentences, true)?;
        let mut order: Vec<usize> = (0..encoded.len()).collect();
        order.sort_by_key(|&i| encoded[i].len());
        let batch = |indices: &[usize]| {
            let tokens: Vec<&[u32]> = indices.iter().map(|&i| encoded[i].get_ids()).collect();
            Sentences::new(&tokens, self.padding, 8, device)
        };
        let batches = order.chunks(BATCH).map(batch).collect();
        Ok(Batches { order, batches })
    }
}

/// Sentences sorted by length, in batches.
#[derive(Clone, Debug)]
pub struct Batches {
    /// The number of each sentence, batch after batch.
    order: Vec<usize>,
    /// The batches.
    pub batches: Vec<Sentences>,
}

impl Batches {
    /// The vector of each sentence, in the order in which they were given.
    ///
    /// # Errors
    /// What `embed`, from a batch to vectors `[batch, width]`, fails with.
    pub fn embed<E>(&self, mut embed: impl FnMut(&Sentences) -> Result<Tensor<2>, E>) -> Result<Vec<Vec<f32>>, E> {
        let mut vectors = vec![Vec::new(); self.order.len()];
        let mut order = self.order.iter();
        for batch in &self.batches {
            let found = embed(batch)?;
            let [_, width] = found.dims();
            let numbers: Vec<f32> = found.into_data().iter::<f32>().collect();
            for (vector, &i) in numbers.chunks(width).zip(&mut order) {
                vectors[i] = vector.to_vec();
            }
        }
        Ok(vectors)
    }
}

/// The question that a network answers: how alike are the sentences of each pair?
#[derive(Clone, Debug)]
pub struct Task {
    /// Every sentence once.
    pub sentences: Batches,
    pairs: Vec<(usize, usize)>,
    scores: Vec<f64>,
}

impl Task {
    /// Tokenizes every sentence once.
    ///
    /// # Errors
    /// A sentence cannot be tokenized.
    pub fn new(pairs: &Pairs, words: &Words, device: &Device) -> Result<Self, tokenizers::Error> {
        let (mut numbers, mut sentences) = (HashMap::new(), Vec::new());
        for sentence in pairs.sentences() {
            numbers.entry(sentence).or_insert_with(|| {
                sentences.push(sentence);
                sentences.len() - 1
            });
        }
        Ok(Self {
            sentences: words.batches(sentences, device)?,
            pairs: pairs.rows.iter().map(|(a, b, _)| (numbers[a.as_str()], numbers[b.as_str()])).collect(),
            scores: pairs.rows.iter().map(|row| row.2).collect(),
        })
    }

    /// Spearman's correlation of the cosines and the scores, times 100.
    ///
    /// # Errors
    /// What `embed`, from a batch to vectors `[batch, width]`, fails with.
    pub fn spearman<E>(&self, embed: impl FnMut(&Sentences) -> Result<Tensor<2>, E>) -> Result<f64, E> {
        let vectors = self.sentences.embed(embed)?;
        let cosines: Vec<f64> = self.pairs.iter().map(|&(a, b)| cosine(&vectors[a], &vectors[b])).collect();
        Ok(100.0 * pearson(&ranks(&cosines), &ranks(&self.scores)))
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(f64::MIN_POSITIVE)
}

/// The rank of each value; equal values share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    for equal in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let rank = start as f64 + (equal.len() - 1) as f64 / 2.0;
        equal.iter().for_each(|&i| ranks[i] = rank);
        start += equal.len();
    }
    ranks
}

/// Pearson's correlation; zero if either side is constant.
fn pearson(a: &[f64], b: &[f64]) -> f64 {
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let (ma, mb) = (mean(a), mean(b));
    let sum = |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(a, b)| f(a - ma, b - mb)).sum::<f64>();
    let scale = (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt();
    if scale > 0.0 { sum(&|a, b| a * b) / scale } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_their_mean_rank() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0, 3.0]), [3.0, 0.0, 3.0, 1.0, 3.0]);
    }

    /// `scipy.stats.spearmanr([1, 2, 2, 5, 4, 0.5], [2, 1, 3, 3, 6, 0])` is 0.7794117647058824.
    #[test]
    fn spearman_is_that_of_scipy() {
        let found = pearson(&ranks(&[1.0, 2.0, 2.0, 5.0, 4.0, 0.5]), &ranks(&[2.0, 1.0, 3.0, 3.0, 6.0, 0.0]));
        assert!((found - 0.779_411_764_705_882_4).abs() < 1e-12, "{found}");
        assert_eq!(pearson(&ranks(&[1.0; 3]), &ranks(&[1.0, 2.0, 3.0])), 0.0);
    }

    #[test]
    fn a_file_that_is_no_table_of_pairs_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            let file = folder.path().join("pairs.csv");
            std::fs::write(&file, text).unwrap();
            Pairs::read(&file)
        };
        assert_eq!(read("\"a, b\",c,2.5\n").unwrap().rows, [("a, b".to_string(), "c".to_string(), 2.5)]);
        for wrong in ["", "a,b\n", "a,b,like\n"] {
            assert!(read(wrong).unwrap_err().to_string().contains("pairs.csv"), "{wrong}");
        }
        assert!(Pairs::read(&folder.path().join("absent.csv")).unwrap_err().to_string().contains("absent.csv"));
    }

    #[test]
    fn each_sentence_gets_the_vector_of_its_own_batch() {
        let (words, pairs) = crate::made_up::sentences(40, 32).unwrap();
        let device = Device::flex();
        let task = Task::new(&pairs, &words, &device).unwrap();
        // The sum of the tokens and their number, which padding must not change.
        let embed = |batch: &Sentences| {
            let there = batch.padding.clone().bool_not().float();
            let sum = (batch.tokens.clone().float() * there.clone()).sum_dim(1);
            Ok::<_, std::convert::Infallible>(Tensor::cat(vec![sum, there.sum_dim(1)], 1))
        };
        let Ok(vectors) = task.sentences.embed(embed);
        for ((first, _, _), (a, _)) in pairs.rows.iter().zip(&task.pairs) {
            let count = first.split(' ').count();
            assert_eq!(vectors[*a][1], count as f32, "{first}");
        }
        assert_eq!(task.sentences.order.len(), vectors.len());
    }
}
