//! Compares cuts with a literal implementation of their definition, and tests the properties that
//! callers rely on.

use super::*;

const TREE: Parameters = Parameters {
    min_bytes: 8 << 10,
    average_bytes: 32 << 10,
    max_bytes: 128 << 10,
};

fn gear(key: u8) -> Gear {
    Gear::new(&[key; 32])
}

fn chunker(parameters: Parameters) -> Chunker {
    Chunker::new(gear(7), parameters).unwrap()
}

fn random(label: &str, size_bytes: usize) -> Vec<u8> {
    let mut bytes = vec![0; size_bytes];
    blake3::Hasher::new()
        .update(label.as_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

/// Lengths of all chunks of a file with the contents `bytes`.
fn lengths(chunker: &Chunker, mut bytes: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while !bytes.is_empty() {
        let (chunk, rest) = bytes.split_at(chunker.cut(bytes));
        lengths.push(chunk.len());
        bytes = rest;
    }
    lengths
}

/// End offsets of chunks with these lengths.
fn ends(lengths: &[usize]) -> Vec<usize> {
    let mut end = 0;
    lengths
        .iter()
        .map(|length| {
            end += length;
            end
        })
        .collect()
}

/// A literal implementation of the definition in the documentation of the module.
fn defined_cut(gear: &Gear, parameters: Parameters, bytes: &[u8]) -> usize {
    let Parameters {
        min_bytes,
        average_bytes,
        max_bytes,
    } = parameters;
    let limit = bytes.len().min(max_bytes as usize);
    let k = average_bytes.trailing_zeros();
    let good = |&p: &usize| {
        let hash = (0..64).fold(0u64, |sum, age| {
            sum.wrapping_add(gear.0[usize::from(bytes[p - 1 - age])].wrapping_mul(1 << age))
        });
        hash.leading_zeros()
            >= if p < average_bytes as usize {
                k + 2
            } else {
                k - 2
            }
    };
    (min_bytes as usize..limit).find(good).unwrap_or(limit)
}

/// Small enough for the slow definition. One of them has a hit in most lanes.
const SMALL: [Parameters; 3] = [
    Parameters {
        min_bytes: 64,
        average_bytes: 256,
        max_bytes: 40_000,
    },
    Parameters {
        min_bytes: 100,
        average_bytes: 16_384,
        max_bytes: 40_000,
    },
    Parameters {
        min_bytes: 1_000,
        average_bytes: 4_096,
        max_bytes: 21_001,
    },
];

/// Compares the lanes with the definition on the bytes from every `step`-th position.
fn assert_as_defined(bytes: &[u8], step: usize) {
    for parameters in SMALL {
        let chunker = chunker(parameters);
        for start in (0..bytes.len()).step_by(step) {
            let bytes = &bytes[start..];
            let defined = defined_cut(&chunker.gear, parameters, bytes);
            assert_eq!(chunker.cut(bytes), defined, "{parameters:?} from {start}");
        }
    }
}

#[test]
fn lanes_cut_where_the_definition_does() {
    assert_as_defined(&random("lanes", 200_000), 1_009);
    assert_as_defined(&random("period", 97).repeat(1_000), 3_001);
    assert_as_defined(&random("long period", 5_000).repeat(20), 1_009);
    assert_as_defined(&[0; 100_000], 10_007);
}

#[test]
fn lanes_cut_where_the_definition_does_whatever_the_length() {
    let bytes = random("lengths", 40_100);
    for parameters in SMALL {
        let chunker = chunker(parameters);
        let Parameters {
            min_bytes: min,
            average_bytes: average,
            max_bytes: max,
        } = parameters;
        let lanes = [2_048, 4_096, 8_192, 16_384].map(|lanes| min + lanes);
        for around in [0, 64, min, average, max].into_iter().chain(lanes) {
            for length in around.saturating_sub(3)..=(around + 3).min(40_100) {
                let bytes = &bytes[..length as usize];
                let defined = defined_cut(&chunker.gear, parameters, bytes);
                assert_eq!(chunker.cut(bytes), defined, "{parameters:?} of {length}");
            }
        }
    }
}

/// Moves the beginning of a chunk until its end is the first or last position of each lane.
#[test]
fn cuts_at_the_edges_of_lanes_are_found() {
    let parameters = SMALL[1];
    let chunker = chunker(parameters);
    let bytes = random("edges", 1 << 20);
    let mut start = 0;
    let end = loop {
        let length = defined_cut(&chunker.gear, parameters, &bytes[start..]);
        if (11_000..parameters.average_bytes as usize).contains(&length) {
            break start + length;
        }
        start += length;
    };
    for lane in 0..=LANES {
        let first = parameters.min_bytes as usize + lane * LANE_BYTES;
        for length in [first, first + 1, first + LANE_BYTES - 1] {
            assert_eq!(chunker.cut(&bytes[end - length..]), length);
        }
    }
}

/// If this fails, new backups no longer deduplicate against existing stores. A second
/// implementation, in another language and with its own BLAKE3, produces the same cuts.
#[test]
fn cuts_are_those_of_the_released_format() {
    assert_eq!(gear(7).0[0], 0x5ffa4f8ef6855082);
    assert_eq!(gear(7).0[255], 0x084f1c8be817b3bc);
    let bytes = random("plakar chunker vector 1", 4 << 20);
    assert_eq!(
        lengths(&chunker(Parameters::default()), &bytes),
        [
            293437, 158404, 298070, 220226, 346337, 276252, 216622, 287553, 299033, 333263, 281659,
            175926, 280409, 276286, 267975, 182852
        ]
    );
    assert_eq!(
        lengths(&chunker(TREE), &bytes[..512 << 10]),
        [
            40825, 10148, 46395, 39029, 37324, 32269, 50039, 37408, 41125, 37254, 41910, 38115,
            33875, 33928, 4644
        ]
    );
}

#[test]
fn reads_of_any_size_make_the_same_cuts() {
    let bytes = random("reads", 4 << 20);
    let chunker = chunker(TREE);
    let mut read_sizes = random("read sizes", 1 << 16)
        .into_iter()
        .map(|size| usize::from(size) * 97);
    let (mut lengths_read, mut buffer, mut file) = (Vec::new(), Vec::new(), &bytes[..]);
    loop {
        while buffer.len() < TREE.max_bytes as usize && !file.is_empty() {
            let (read, rest) = file.split_at(read_sizes.next().unwrap().min(file.len()));
            buffer.extend_from_slice(read);
            file = rest;
        }
        if buffer.is_empty() {
            break;
        }
        lengths_read.push(chunker.cut(&buffer));
        buffer.drain(..lengths_read[lengths_read.len() - 1]);
    }
    assert_eq!(lengths_read, lengths(&chunker, &bytes));
}

#[test]
fn an_insertion_moves_few_boundaries() {
    let before = random("insertion", 8 << 20);
    let after = [&before[..100_000], b"something new", &before[100_000..]].concat();
    let from_the_end = |bytes: &[u8]| -> Vec<usize> {
        ends(&lengths(&chunker(TREE), bytes))
            .iter()
            .map(|end| bytes.len() - end)
            .collect()
    };
    let (before, after) = (from_the_end(&before), from_the_end(&after));
    let moved = after.iter().filter(|end| !before.contains(end)).count();
    assert!(moved <= 8, "{moved} of {} boundaries moved", after.len());
}

#[test]
fn lengths_are_within_limits_and_near_the_average() {
    let lengths = lengths(&chunker(TREE), &random("distribution", 16 << 20));
    let all_but_the_last = &lengths[..lengths.len() - 1];
    assert!(
        all_but_the_last
            .iter()
            .all(|&length| length >= TREE.min_bytes as usize)
    );
    assert!(
        lengths
            .iter()
            .all(|&length| length <= TREE.max_bytes as usize)
    );
    let mean = (16 << 20) / lengths.len();
    assert!((32_768..40_960).contains(&mean), "{mean} bytes");
}

#[test]
fn zeros_are_cut_at_the_maximum() {
    let chunker = chunker(Parameters::default());
    assert_eq!(
        lengths(&chunker, &vec![0; (2 << 20) + 5]),
        [1 << 20, 1 << 20, 5]
    );
}

#[test]
fn nothing_has_no_length_and_little_is_one_chunk() {
    let chunker = chunker(Parameters::default());
    assert_eq!(chunker.cut(&[]), 0);
    assert_eq!(chunker.cut(&random("little", 64 << 10)), 64 << 10);
}

#[test]
fn another_key_cuts_elsewhere() {
    let bytes = random("keys", 4 << 20);
    let of_key = |key| ends(&lengths(&Chunker::new(gear(key), TREE).unwrap(), &bytes));
    let (one, other) = (of_key(1), of_key(2));
    let common = one.iter().filter(|end| other.contains(end)).count();
    assert!(
        one.len() > 50 && common <= 2,
        "{common} of {} boundaries",
        one.len()
    );
}

#[test]
fn parameters_out_of_bounds_are_refused() {
    let refused = |min_bytes, average_bytes, max_bytes| {
        let parameters = Parameters {
            min_bytes,
            average_bytes,
            max_bytes,
        };
        Chunker::new(gear(7), parameters).is_err_and(|error| error.kind() == Kind::Unsupported)
    };
    assert!(refused(63, 256, 1024), "a minimum below the window");
    assert!(refused(64, 128, 1024), "an average too small to judge");
    assert!(refused(64, 300, 1024), "an average that is no power of two");
    assert!(refused(256, 256, 1024), "a minimum that is the average");
    assert!(refused(64, 1024, 1024), "an average that is the maximum");
    assert!(
        refused(64, 256, (4 << 20) + 1),
        "a maximum that fills the memory"
    );
    assert!(
        refused(64, 1 << 31, u32::MAX),
        "an average that fills the memory"
    );
    assert!(
        !refused(64, 256, 257) && !refused(64, 2 << 20, 4 << 20),
        "the bounds themselves"
    );
}
