//! Clients in the tasks of an asynchronous runtime, without `spawn_blocking`, as a program may do by mistake.

use std::io::Read;

use tokio::runtime::{Builder, Runtime};
use vmroot::{Client, ClientOptions, Platform, PullOptions, PullPolicy, Reference};
use vmroot_testkit::image::ImageBuilder;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::registry::Registry;
use vmroot_testkit::sample::noise;

/// Calls every method that may wait for a registry, with a client that is created and dropped in the task.
fn call_all_methods(name: &str) {
    let directory = tempfile::tempdir().unwrap();
    let client = Client::new(ClientOptions::new(directory.path())).unwrap();
    let options = PullOptions { platform: Some(Platform::parse("linux/amd64").unwrap()), policy: PullPolicy::Always };
    let described = client.describe_remote(name, options.platform.as_ref()).unwrap();
    let image = client.pull_with(name, &options).unwrap();
    assert_eq!(*image.id(), described.id);
    // A second request on a connection that is kept alive.
    client.pull_with(name, &options).unwrap();
    client.validate_remote(name).unwrap();
    let reference = Reference::parse(name).unwrap();
    let registry = client.registry();
    registry.head_manifest(&reference).unwrap();
    registry.manifest(&reference).unwrap();
    registry.manifest_by_digest(&reference, &image.record().manifest.digest).unwrap();
    let mut config = Vec::new();
    registry.blob(&reference, &image.record().config, 0).unwrap().read_to_end(&mut config).unwrap();
    assert_eq!(config, image.config().raw());
    let mut rest = Vec::new();
    registry.resuming_blob(&reference, &image.record().config, 5).read_to_end(&mut rest).unwrap();
    assert_eq!(rest, config[5..]);

    let root = client.root(&image).unwrap();
    assert_eq!(root.stat(root.resolve_path(b"file").unwrap().ino).size, 300_000);
    client.make_complete(&image).unwrap();
    assert_eq!(client.verify().unwrap().findings, []);
    client.remove_name(&image).unwrap();
    assert_ne!(client.collect().unwrap().files.len(), 0);
    assert!(client.pull_with("127.0.0.1:1/no:registry", &options).is_err());
}

/// Starts a registry with one image, and returns it with the image's name.
fn serve() -> (Registry, String) {
    let registry = Registry::start();
    let layer = Layer::new([Entry::file("file", noise(1, 300_000))]);
    let image = ImageBuilder::new().layer(&layer).build();
    for (digest, bytes) in image.blobs() {
        registry.put_blob_as(&digest, bytes);
    }
    registry.put_manifest("test/image", Some("v1"), &image.manifest.media_type, &image.manifest.bytes);
    let name = format!("{}/test/image:v1", registry.host());
    (registry, name)
}

fn in_a_task(runtime: &Runtime, name: &str) {
    let name = name.to_owned();
    runtime.block_on(async move {
        call_all_methods(&name);
        tokio::spawn(async move { call_all_methods(&name) }).await.unwrap();
    });
}

#[test]
fn a_client_works_in_tasks_of_a_runtime_with_one_thread() {
    let (_registry, name) = serve();
    in_a_task(&Builder::new_current_thread().build().unwrap(), &name);
}

#[test]
fn a_client_works_in_tasks_of_a_runtime_with_many_threads() {
    let (_registry, name) = serve();
    in_a_task(&Builder::new_multi_thread().worker_threads(2).build().unwrap(), &name);
}

/// The recommended way: other tasks run meanwhile.
#[test]
fn a_client_works_in_spawn_blocking() {
    let (_registry, name) = serve();
    let runtime = Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { tokio::task::spawn_blocking(move || call_all_methods(&name)).await.unwrap() });
}

/// A client may also be created outside of tasks and used in many.
#[test]
fn tasks_share_a_client() {
    let (_registry, name) = serve();
    let directory = tempfile::tempdir().unwrap();
    let client = Client::new(ClientOptions::new(directory.path())).unwrap();
    let runtime = Builder::new_multi_thread().worker_threads(3).build().unwrap();
    let tasks: Vec<_> = (0..6)
        .map(|_| {
            let (client, name) = (client.clone(), name.clone());
            runtime.spawn(async move { *client.pull_for(&name, &Platform::linux("amd64").unwrap()).unwrap().id() })
        })
        .collect();
    let ids: Vec<_> = tasks.into_iter().map(|task| runtime.block_on(task).unwrap()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]));
}
