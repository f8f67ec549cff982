//! A reply of about a megabyte that unfolds to more than a gigabyte.

use std::io::Write;
use std::sync::OnceLock;

use flate2::Compression;
use flate2::Crc;
use flate2::write::DeflateEncoder;

/// Spaces in one piece, and pieces.
const PIECE: usize = 1 << 20;
const PIECES: usize = 1050;

/// The gzip body: a JSON array of nothing, with 1.1 thousand million spaces in it.
///
/// One piece is compressed once, flushed to a whole byte, and repeated, so it costs nothing to make.
pub fn body() -> &'static [u8] {
    static BODY: OnceLock<Vec<u8>> = OnceLock::new();
    BODY.get_or_init(|| {
        let (open, spaces, close) = (deflated(b"[", false), vec![b' '; PIECE], deflated(b"]", true));
        let piece = deflated(&spaces, false);
        let mut body = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
        body.extend(open);
        body.extend(std::iter::repeat_n(piece, PIECES).flatten());
        body.extend(close);
        let sum = |bytes: &[u8]| {
            let mut crc = Crc::new();
            crc.update(bytes);
            crc
        };
        let mut whole = sum(b"[");
        let of_piece = sum(&spaces);
        for _ in 0..PIECES {
            whole.combine(&of_piece);
        }
        whole.combine(&sum(b"]"));
        body.extend(whole.sum().to_le_bytes());
        body.extend(whole.amount().to_le_bytes());
        body
    })
}

/// A piece of a deflate stream that ends on a whole byte.
fn deflated(bytes: &[u8], last: bool) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    // Writing to memory does not fail.
    let whole = encoder.write_all(bytes).and_then(|()| if last { Ok(()) } else { encoder.flush() });
    match whole {
        Ok(()) if last => encoder.finish().unwrap_or_default(),
        Ok(()) => std::mem::take(encoder.get_mut()),
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_megabyte_unfolds_to_more_than_a_gigabyte() {
        let body = body();
        assert!(body.len() < 2_000_000, "{}", body.len());
        let mut decoder = flate2::read::GzDecoder::new(body);
        let mut buffer = vec![0; 1 << 20];
        let mut length = 0_usize;
        let mut first = None;
        loop {
            // The check sum at the end is read, too.
            let read = decoder.read(&mut buffer).unwrap();
            if read == 0 {
                break;
            }
            first = first.or(Some(buffer[0]));
            length += read;
        }
        assert_eq!((first, length), (Some(b'['), PIECE * PIECES + 2));
    }
}
