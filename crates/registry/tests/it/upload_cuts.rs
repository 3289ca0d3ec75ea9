//! Uploads that are cut anywhere: they continue, or end with an error after which the blob can be uploaded again.

use std::io::Read;

use vmroot_model::{Digest, Reference};
use vmroot_registry::{Client, ClientOptions, UploadBody as _};
use vmroot_testkit::FullMessage as _;
use vmroot_testkit::registry::{Fault, Registry, Rule};

use crate::fixture::{NAME, client, options, pattern};
use crate::uploaded::Blob;

const UPLOADS: &str = "/blobs/uploads/";

/// The size of the pieces in which a blob of unknown size continues after an interruption.
const CHUNK: u64 = 4 << 20;

/// Larger than two chunks, and no multiple of one.
const SIZE: u64 = 2 * CHUNK + 123_457;

fn reference(registry: &Registry) -> Reference {
    Reference::parse(&format!("{}/{NAME}", registry.host())).unwrap()
}

fn stored(registry: &Registry, bytes: &[u8]) -> bool {
    let Some(content) = registry.blob(NAME, &Digest::of(bytes)) else { return false };
    let mut stored = Vec::new();
    content.reader(0).unwrap().read_to_end(&mut stored).unwrap();
    assert!(stored == bytes, "the registry has other bytes");
    true
}

/// Returns the ends of all chunks with their neighbours, and random offsets.
fn cuts() -> Vec<u64> {
    let mut state = 5_u64;
    let random = (0..8).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 20) % SIZE
    });
    let ends = [0, CHUNK, 2 * CHUNK, SIZE].into_iter().flat_map(|end| [end.saturating_sub(1), end, end + 1]);
    ends.filter(|cut| *cut <= SIZE).chain(random).collect()
}

fn blobs(bytes: &[u8]) -> [Blob; 2] {
    [Blob::known(bytes), Blob::unknown(bytes)]
}

#[test]
fn an_upload_that_is_cut_anywhere_continues() {
    let bytes = pattern(SIZE as usize);
    for cut in cuts() {
        for mut blob in blobs(&bytes) {
            let registry = Registry::start();
            // The first request, and the one that continues it at an end of a chunk or in the middle.
            registry.misbehave(Rule::on(UPLOADS).method("PATCH").times(1).fault(Fault::CutRequest(cut)));
            let second = Fault::CutRequest(cut % CHUNK);
            registry.misbehave(Rule::on(UPLOADS).method("PATCH").skip(1).times(1).fault(second));
            match client().upload_blob(&reference(&registry), &mut blob) {
                Ok(_) => {}
                // `Range: 0-0` stands for no byte or for one. The digest tells, and the blob is uploaded again.
                Err(error) if cut <= 1 || cut % CHUNK == 1 => {
                    assert!(error.may_restart_upload(), "{cut}: {error}");
                    registry.behave();
                    blob = match blob.size() {
                        Some(_) => Blob::known(&bytes),
                        None => Blob::unknown(&bytes),
                    };
                    client().upload_blob(&reference(&registry), &mut blob).unwrap();
                }
                Err(error) => panic!("{cut}: {error}"),
            }
            assert!(stored(&registry, &bytes), "{cut}");
            assert_eq!(registry.open_uploads(), 0, "{cut}");
        }
    }
}

#[test]
fn a_registry_that_misbehaves_after_a_cut_loses_no_bytes() {
    let bytes = pattern(SIZE as usize);
    let status = |status, headers: &[(&'static str, &str)]| {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Fault::Status(status, headers, "<html>an error</html>".to_owned())
    };
    let on = |method| Rule::on(UPLOADS).method(method).times(1);
    let cases: Vec<(&str, Vec<Rule>)> = vec![
        ("the session is lost", vec![on("GET").fault(Fault::ForgetUpload)]),
        ("the status of the upload is 500", vec![on("GET").fault(status(500, &[]))]),
        ("the status of the upload is a web page", vec![on("GET").fault(status(200, &[]))]),
        ("the connection closes at the status", vec![on("GET").fault(Fault::Close)]),
        ("416 without a range", vec![on("PATCH").skip(1).fault(status(416, &[]))]),
        ("416 with a range of nothing", vec![on("PATCH").skip(1).fault(status(416, &[("Range", "0-0")]))]),
        ("416 with nonsense", vec![on("PATCH").skip(1).fault(status(416, &[("Range", "bytes=x-y")]))]),
        ("429 at a chunk", vec![on("PATCH").skip(1).fault(status(429, &[("Retry-After", "0")]))]),
        ("413 at a chunk", vec![on("PATCH").skip(1).fault(status(413, &[]))]),
        ("a quota", vec![on("PATCH").skip(1).fault(status(403, &[]))]),
        ("202 at the end", vec![on("PUT").fault(status(202, &[]))]),
        ("502 at the end", vec![on("PUT").fault(status(502, &[]))]),
        ("404 at the end", vec![on("PUT").fault(Fault::ForgetUpload)]),
        ("the connection closes at the end", vec![on("PUT").fault(Fault::Close)]),
        ("an answer that is cut", vec![on("PUT").fault(Fault::ContentLength(10))]),
        ("another digest", vec![on("PUT").fault(Fault::Header("Docker-Content-Digest", format!("sha256:{:064}", 1)))]),
        ("no location", vec![on("PATCH").skip(1).fault(Fault::WithoutHeader("Location"))]),
        ("relative locations", vec![on("PATCH").skip(1).fault(Fault::LocationAt(String::new()))]),
        (
            "a location that is no URL",
            vec![on("PATCH").skip(1).fault(Fault::Header("Location", "http://[".to_owned()))],
        ),
    ];
    for (case, rules) in cases {
        for (mut blob, mut again) in blobs(&bytes).into_iter().zip(blobs(&bytes)) {
            let registry = Registry::start();
            registry.misbehave(on("PATCH").fault(Fault::CutRequest(CHUNK + 77)));
            rules.iter().for_each(|rule| registry.misbehave(rule.clone()));
            let client = Client::new(ClientOptions { upload_window: 100_000, ..options() }).unwrap();
            match client.upload_blob(&reference(&registry), &mut blob) {
                // A success that is none would be the worst.
                Ok(_) => assert!(stored(&registry, &bytes), "{case}: the blob is missing"),
                Err(error) => {
                    let text = error.full_message();
                    assert!(text.contains(&registry.host()), "{case}: {text}");
                    registry.behave();
                    client.upload_blob(&reference(&registry), &mut again).unwrap();
                    assert!(stored(&registry, &bytes), "{case}");
                }
            }
        }
    }
}
