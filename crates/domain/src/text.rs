//! Text that strangers wrote: venues, tenants. It reaches agents, so it must not be able to steer them.

/// At most `max` characters, without control, bidirectional, zero-width, tag or unassigned-format
/// characters; outer white space trimmed.
pub fn clean(text: &str, max: usize) -> String {
    let kept: String = text.chars().filter(|c| !is_hidden(*c)).collect();
    kept.trim().chars().take(max).collect()
}

/// A regular expression that finds a character that [`clean`] keeps, for schemas.
pub const VISIBLE: &str = r"[^\s\u0000-\u001F\u007F-\u009F\u00AD\u034F\u061C\u115F\u1160\u17B4\u17B5\u180E\u200B-\u200F\u2028-\u202E\u2060-\u206F\u3164\uFE00-\uFE0F\uFEFF\uFFA0\uFFF0-\uFFFB]";

/// Characters that print nothing or reorder what is printed.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180E}'
            | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}'
            | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}'
            | '\u{E0000}'..='\u{E0FFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_dropped_and_length_is_bounded() {
        assert_eq!(clean(" BTC\u{202E}\u{200B}\0USDT\u{E0041} ", 128), "BTCUSDT");
        assert_eq!(clean("αβγδ", 2), "αβ");
    }

    /// What could steer a reader that a person cannot see: by ranges of the Unicode tables.
    #[test]
    fn every_character_that_hides_or_reorders_is_dropped() {
        let ranges = [
            (0x00, 0x1F, "C0"),
            (0x7F, 0x9F, "DEL and C1"),
            (0xAD, 0xAD, "soft hyphen"),
            (0x061C, 0x061C, "Arabic letter mark"),
            (0x200B, 0x200F, "zero width, and marks of direction"),
            (0x2028, 0x202E, "separators, embeddings, overrides"),
            (0x2060, 0x206F, "word joiner, isolates, deprecated formats"),
            (0xFE00, 0xFE0F, "variation selectors"),
            (0xFEFF, 0xFEFF, "byte order mark"),
            (0xFFF9, 0xFFFB, "interlinear annotation"),
            (0xE0000, 0xE007F, "tags"),
            (0xE0100, 0xE01EF, "more variation selectors"),
        ];
        for (first, last, what) in ranges {
            for c in (first..=last).filter_map(char::from_u32) {
                assert_eq!(clean(&format!("a{c}b"), 128), "ab", "{what}: {:x}", u32::from(c));
            }
        }
        let long = "€".repeat(1_000);
        assert_eq!(clean(&long, 128).chars().count(), 128);
        assert_eq!(clean("IGNORE \u{202E}ALL\u{2066} PREVIOUS\u{E0020}", 128), "IGNORE ALL PREVIOUS");
        assert_eq!(clean("naïve 日本 kPEPE-PERP", 128), "naïve 日本 kPEPE-PERP", "letters stay");
    }
}
