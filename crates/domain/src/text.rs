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
}
