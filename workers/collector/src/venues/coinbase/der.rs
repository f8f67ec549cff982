//! As much of ASN.1 as private keys are written in: nested tags, lengths and contents.

/// The parts of a private key.
#[derive(Clone, Copy)]
pub enum PrivateKey<'a> {
    /// 32 bytes, and the uncompressed point that belongs to them.
    Ec {
        private: &'a [u8],
        public: &'a [u8],
    },
    Ed25519 {
        seed: &'a [u8],
    },
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
/// `[1]` of an EC private key: the public point.
const PUBLIC: u8 = 0xA1;
/// 1.3.101.112.
const ED25519: &[u8] = &[0x2B, 0x65, 0x70];

/// One element: its tag, its content, and what follows it.
fn element(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = input.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7F => (usize::from(first), rest),
        // No key is longer than two bytes can say.
        0x81 | 0x82 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// The content of the next element, which must have this tag, and what follows it.
fn expect(tag: u8, input: &[u8]) -> Option<(&[u8], &[u8])> {
    element(input).filter(|(found, ..)| *found == tag).map(|(_, content, rest)| (content, rest))
}

/// A PKCS#8 (RFC 5208) or a SEC1 (RFC 5915) private key.
pub fn private_key(bytes: &[u8]) -> Option<PrivateKey<'_>> {
    let (outer, _) = expect(SEQUENCE, bytes)?;
    let (_version, rest) = expect(INTEGER, outer)?;
    match element(rest)? {
        (SEQUENCE, algorithm, rest) => {
            let (algorithm, _) = expect(OBJECT_ID, algorithm)?;
            let (key, _) = expect(OCTET_STRING, rest)?;
            if algorithm == ED25519 {
                let (seed, _) = expect(OCTET_STRING, key)?;
                return Some(PrivateKey::Ed25519 { seed });
            }
            let (inner, _) = expect(SEQUENCE, key)?;
            let (_version, rest) = expect(INTEGER, inner)?;
            ec(rest)
        }
        (OCTET_STRING, ..) => ec(rest),
        _ => None,
    }
}

/// What follows the version of an EC private key.
fn ec(input: &[u8]) -> Option<PrivateKey<'_>> {
    let (private, mut rest) = expect(OCTET_STRING, input)?;
    while let Some((tag, content, after)) = element(rest) {
        if tag == PUBLIC {
            // The first byte says how many bits of the last are not used: none.
            let (point, _) = expect(BIT_STRING, content)?;
            let (0, public) = point.split_first().map(|(unused, public)| (*unused, public))? else { return None };
            return Some(PrivateKey::Ec { private, public });
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_beyond_the_input_or_of_strange_forms_are_no_elements() {
        assert_eq!(element(&[4, 2, 7, 8, 9]), Some((4, &[7, 8][..], &[9][..])));
        assert_eq!(element(&[4, 0x81, 1, 7]), Some((4, &[7][..], &[][..])));
        for bad in [&[][..], &[4], &[4, 2, 7], &[4, 0x80], &[4, 0x82, 1], &[4, 0xFF, 1]] {
            assert_eq!(element(bad), None, "{bad:?}");
        }
        assert!(private_key(&[0x30, 3, 2, 1, 1]).is_none());
    }
}
