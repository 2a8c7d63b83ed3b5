use super::*;

fn place(first: u32, len: usize) -> Place {
    Place {
        kind: Kind::Record,
        key: 5,
        generation: 9,
        token: Token::new(3, first, sealed_units(len)).unwrap(),
    }
}

fn both() -> [Sealer; 2] {
    [true, false].map(|aes| Sealer::with(aes).unwrap())
}

#[test]
fn both_ciphers_open_what_they_sealed_and_nothing_that_was_changed() {
    for sealer in both() {
        let mut sequence = Sequence::default();
        for len in [1, 15, 16, 17, 1400, 4096, RECORD_MAX] {
            let place = place((len as u32 * 7) % 8192, len);
            let sequence = if len == 1 {
                &mut sequence
            } else {
                &mut Sequence::default()
            };
            let bytes: Vec<u8> = (0..len).map(|at| (at * 31) as u8).collect();
            let mut sealed = vec![0xee; 3];
            sealer.seal(sequence, place, &bytes, &mut sealed).unwrap();
            let sealed = &sealed[3..];
            assert_eq!(sealed.len(), place.token.stored_len());
            assert!(sealed.len() <= len + 32);
            let mut open = sealed.to_vec();
            assert_eq!(sealer.open(place, &mut open), Ok(len));
            assert_eq!(open[..len], bytes);
            for bit in (0..sealed.len() * 8).step_by(1 + sealed.len() / 16) {
                let mut open = sealed.to_vec();
                open[bit / 8] ^= 1 << (bit % 8);
                let flipped = open.clone();
                assert_eq!(sealer.open(place, &mut open), Err(Broken));
                // What is not authentic is not decrypted, either.
                assert!(open == flipped);
            }
        }
    }
}

#[test]
fn another_place_key_kind_or_generation_does_not_open() {
    for sealer in both() {
        let it = place(100, 50);
        let mut sealed = Vec::new();
        sealer
            .seal(&mut Sequence::default(), it, &[1; 50], &mut sealed)
            .unwrap();
        let token = |segment, first| Token::new(segment, first, it.token.units()).unwrap();
        for other in [
            Place { key: 6, ..it },
            Place {
                kind: Kind::Table,
                ..it
            },
            Place {
                generation: 10,
                ..it
            },
            Place {
                token: token(3, 101),
                ..it
            },
            Place {
                token: token(4, 100),
                ..it
            },
        ] {
            assert_eq!(sealer.open(other, &mut sealed.clone()), Err(Broken));
        }
        // Another log has another key.
        for other in both() {
            assert_eq!(other.open(it, &mut sealed.clone()), Err(Broken));
        }
        assert_eq!(sealer.open(it, &mut sealed), Ok(50));
    }
}

/// Two pieces under one nonce would give their difference away.
#[test]
fn places_come_once() {
    let mut sequence = Sequence::default();
    assert_eq!(sequence.take(&place(0, 1)), Ok(()));
    assert_eq!(sequence.take(&place(2, 1)), Ok(()));
    let next = Place {
        generation: 10,
        ..place(0, 1)
    };
    assert_eq!(sequence.take(&next), Ok(()));
    let worn = Place {
        generation: GENERATION_MAX + 1,
        ..next
    };
    assert_eq!(sequence.take(&worn), Err(Broken));
    if !cfg!(debug_assertions) {
        assert_eq!(sequence.take(&place(4, 1)), Err(Broken));
        assert_eq!(sequence.take(&next), Err(Broken));
    }
}
