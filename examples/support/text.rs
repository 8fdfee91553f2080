//! A text as numbers of characters.

use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::BTreeSet;

/// A text: its characters by number, the first nine tenths to train on and the rest to validate.
#[derive(Clone, Debug)]
pub struct Text {
    /// Every character that occurs, sorted.
    pub characters: Vec<char>,
    numbers: Vec<u8>,
    train: usize,
}

impl Text {
    /// Numbers the characters of a text in which windows of `least` characters are to be found in both parts.
    ///
    /// # Errors
    /// The text is too short, or has more than 256 different characters.
    pub fn new(text: &str, least: usize) -> Result<Self, TextError> {
        let characters: Vec<char> = text.chars().collect::<BTreeSet<_>>().into_iter().collect();
        if characters.len() > 256 {
            return Err(TextError::TooManyCharacters { count: characters.len() });
        }
        let number = |c| characters.binary_search(&c).unwrap_or(0) as u8;
        let numbers: Vec<u8> = text.chars().map(number).collect();
        let train = numbers.len() * 9 / 10;
        if numbers.len() - train < least {
            return Err(TextError::TooShort { least: 10 * least, count: numbers.len() });
        }
        Ok(Self { characters, numbers, train })
    }

    /// Draws windows at random places of the training part.
    ///
    /// # Panics
    /// If the training part is shorter than a window.
    pub fn draw(&self, count: usize, length: usize, random: &mut StdRng) -> Vec<&[u8]> {
        let start = |random: &mut StdRng| random.random_range(0..=self.train - length);
        (0..count).map(|_| start(random)).map(|start| &self.numbers[start..start + length]).collect()
    }

    /// Windows of the validation part, side by side: each starts with the last character of the one before it.
    #[must_use]
    pub fn validation(&self, length: usize) -> Vec<&[u8]> {
        let part = &self.numbers[self.train..];
        let step = length.saturating_sub(1).max(1);
        (0..).map(|i| i * step).map_while(|start| part.get(start..start + length)).collect()
    }

    /// The characters of numbers.
    #[must_use]
    pub fn decode(&self, numbers: &[u8]) -> String {
        numbers.iter().filter_map(|&n| self.characters.get(usize::from(n))).collect()
    }

    /// The numbers of characters; those that do not occur in the text are left out.
    #[must_use]
    pub fn encode(&self, text: &str) -> Vec<u8> {
        text.chars().filter_map(|c| self.characters.binary_search(&c).ok()).map(|n| n as u8).collect()
    }
}

/// A text that cannot be trained on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The validation part has no window.
    #[error("the text has {count} characters; at least {least} are needed")]
    TooShort {
        /// The least number of characters.
        least: usize,
        /// The number that there is.
        count: usize,
    },
    /// Numbers of characters are bytes.
    #[error("the text has {count} different characters; at most 256 can be numbered")]
    TooManyCharacters {
        /// The number of different characters.
        count: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn the_last_tenth_is_never_trained_on() {
        let text = Text::new(&format!("{}{}", "ab".repeat(90), "xyz".repeat(7)), 5).unwrap();
        let windows = text.draw(500, 5, &mut StdRng::seed_from_u64(1));
        assert!(windows.iter().all(|w| w.len() == 5 && w.iter().all(|&c| c < 2)));
        assert_eq!(text.decode(&text.encode("ax?b")), "axb");
    }

    #[test]
    fn validation_predicts_each_character_once() {
        let text = Text::new(&"0123456789".repeat(10), 4).unwrap();
        let windows = text.validation(4);
        assert_eq!(windows, [&[0, 1, 2, 3], &[3, 4, 5, 6], &[6, 7, 8, 9]]);
        assert_eq!(Text::new("short", 4).unwrap_err(), TextError::TooShort { least: 40, count: 5 });
    }
}
