//! `boot` with disks that a guest writes, a network, and inits of images.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread;

use vmroot_testkit::guest::Guest;
use vmroot_testkit::image::ImageBuilder;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::registry::Registry;
use vmroot_testkit::skip;

use crate::booting::BootTest;
use crate::program::Program;
use crate::samples::serve;

/// The name of busybox with all applets in a guest. It begins as busybox expects.
const TOOLS: &str = "/bin/busybox-tools";

/// Runs a program of e2fsprogs, and returns its output.
#[track_caller]
fn e2fsprogs(program: &str, arguments: &[&str], disk: &Path) -> String {
    let path = [Path::new("/usr/sbin").join(program), Path::new("/sbin").join(program), program.into()];
    let program = path.iter().find(|path| path.exists()).unwrap_or(&path[2]);
    let output = Command::new(program).args(arguments).arg(disk).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Makes an ext4 of 16 MiB as users do.
fn make_disk(program: &Program, name: &str) -> std::path::PathBuf {
    let path = program.path(name);
    File::create(&path).unwrap().set_len(16 << 20).unwrap();
    e2fsprogs("mke2fs", &["-q", "-t", "ext4"], &path);
    path
}

/// Returns the listing of a directory of a disk.
fn listed(disk: &Path, directory: &str) -> String {
    e2fsprogs("debugfs", &["-R", &format!("ls -l {directory}")], disk)
}

/// Serves one HTTP answer on this machine, and returns its port.
fn serve_once(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        let _ = connection.read(&mut request).unwrap();
        let text = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{answer}", answer.len());
        connection.write_all(text.as_bytes()).unwrap();
    });
    port
}

/// Returns the options for a root user and all applets of busybox.
fn tools(test: &BootTest) -> Vec<String> {
    let users = test.program.file("passwd", "root:x:0:0::/:/bin/sh\ndemo:x:0:0::/:/bin/sh\n");
    let busybox = test.guest.busybox();
    vec![
        format!("--add={}:/etc/passwd", users.display()),
        format!("--add={}:{TOOLS}", busybox.display()),
        "--timeout=120".to_owned(),
    ]
}

fn run(test: &BootTest, options: &[String], script: &str) -> crate::program::CommandOutput {
    let mut more = tools(test);
    more.extend_from_slice(options);
    more.extend(["--".to_owned(), format!("b={TOOLS}; {script}")]);
    test.run(&more.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A guest with everything, a second one that finds the writes of the first, and a guest of another image.
#[test]
fn guests_keep_their_writes_and_reach_this_machine() {
    let Some(test) = BootTest::new("amd64") else { return };
    if skip::needs_program("mke2fs") {
        return;
    }
    let program = &test.program;
    let (upper, data, fixed) = (program.path("upper.ext4"), make_disk(program, "data"), make_disk(program, "fixed"));
    let port = serve_once("from this machine\n");
    let option = |name: &str, value: String| format!("--{name}={value}");
    let upper_option = option("upper", upper.display().to_string());
    let options = [
        upper_option.clone(),
        option("upper-size", "64M".to_owned()),
        option("volume", format!("{}:/data", data.display())),
        option("volume", format!("{}:/run/fixed/:ro", fixed.display())),
        option("net", "user".to_owned()),
        option("ip", "192.168.7.9/24".to_owned()),
        option("hostname", "web-1".to_owned()),
    ];
    let script = format!(
        "grep -o '^overlay / overlay rw' /proc/mounts; $b stat -c '%a %u %g %Y' /; hostname; cat /etc/hostname; \
         $b tail -n 1 /etc/hosts; cat /etc/resolv.conf; $b wget -q -O - http://192.168.7.2:{port}/; \
         echo kept > /etc/new; rm /home/demo/hello; echo vol > /data/file; \
         (echo x > /run/fixed/file) 2>/dev/null || echo read-only; mkdir /upper-dir; exit 7"
    );
    let answer = run(&test, &options, &script);
    let expected = "overlay / overlay rw\n755 0 0 0\nweb-1\nweb-1\n192.168.7.9\tweb-1\nnameserver 192.168.7.3\n\
                    from this machine\nread-only\n";
    assert_eq!(
        (answer.status.code(), String::from_utf8_lossy(&answer.stdout).as_ref()),
        (Some(7), expected),
        "{answer}"
    );
    // A normal end leaves clean file systems, without names in the layer.
    for disk in [&upper, &data, &fixed] {
        e2fsprogs("e2fsck", &["-fn"], disk);
        let header = e2fsprogs("dumpe2fs", &["-h"], disk);
        assert!(!header.contains("needs_recovery"), "{header}");
    }
    let etc = listed(&upper, "/upper/etc");
    assert!(etc.contains(" new\n") && !etc.contains("hosts") && !etc.contains("resolv.conf"), "{etc}");
    assert!(listed(&data, "/").contains(" file\n"));
    let record = e2fsprogs("debugfs", &["-R", "cat /vmroot.json"], &upper);
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    assert_eq!(record["version"], 1);

    // The mark of a mount with `volatile` does not stop the next guest, which has another form of the root.
    for directory in ["/work/work/incompat", "/work/work/incompat/volatile"] {
        e2fsprogs("debugfs", &["-w", "-R", &format!("mkdir {directory}")], &upper);
    }
    let options = [upper_option.clone(), option("via", "virtiofs".to_owned()), option("dns", "10.9.8.7".to_owned())];
    let answer =
        run(&test, &options, "cat /etc/new /etc/resolv.conf; ls /home/demo | grep -c '^hello$'; ls -d /upper-dir");
    assert_eq!(answer.ok(), "kept\nnameserver 10.9.8.7\n0\n/upper-dir\n");

    // Another image, under the same name.
    let mut arguments = test.arguments(&[&upper_option, "--entrypoint=/bin/true"]);
    let registry = Registry::start();
    let busybox = Entry::file("bin/true", fs::read(test.guest.busybox()).unwrap()).mode(0o755);
    let image = ImageBuilder::new().platform("linux/amd64").layer(&Layer::new([busybox])).build();
    arguments[1] = serve(&registry, &image, "v1");
    let message = program.run(&arguments).fails(125);
    let expected = "the upper disk was made over ";
    assert!(message.contains(expected) && message.contains("hint: --rebase "), "{message}");
}

#[test]
fn disks_that_cannot_be_used_are_refused_before_the_pull() {
    let Some(test) = BootTest::new("amd64") else { return };
    if skip::needs_program("mke2fs") {
        return;
    }
    let program = &test.program;
    let (disk, empty) = (make_disk(program, "disk"), program.file("empty", [0; 4096]));
    let directory = program.path("directory");
    fs::create_dir(&directory).unwrap();
    let text = |path: &Path| path.display().to_string();
    for (code, arguments, expected) in [
        (2, vec![format!("--upper={}", text(&directory))], "a directory, and a guest writes to a disk"),
        (1, vec![format!("--upper={}", text(&empty))], "no file system that vmroot knows, and not ext4"),
        (1, vec![format!("--volume={}:/x", text(&empty))], "no file system that vmroot knows"),
        (3, vec!["--volume=/no/such:/x".to_owned()], "--volume /no/such:/x: "),
        (2, vec![format!("--volume={}", text(&disk))], "expected FILE:/PATH"),
        (1, vec![format!("--upper={}", text(&disk)), "--via=ext4".to_owned()], "writes itself"),
        (1, vec![format!("--upper={}", text(&disk)), "--via=cpio".to_owned()], "has no first stage"),
        (2, vec![format!("--upper={}", text(&disk)), "--overlay".to_owned()], "does not go with"),
        (2, vec!["--publish=8080:80".to_owned()], "--publish: the guest has no network"),
        (1, vec!["--net=user".to_owned(), "--ip=10.0.0.0/24".to_owned()], "is no host of 10.0.0.0/24"),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let message = test.run(&arguments).fails(code);
        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
    let lock = File::open(&disk).unwrap();
    lock.try_lock_shared().unwrap();
    let message = test.run(&[&format!("--volume={}:/x", text(&disk))]).fails(1);
    assert!(message.contains("in use by another guest or mount"), "{message}");
    assert!(!program.cache().join("blobs").exists());
}

/// Returns the kernel of the tests' guests and the modules that it needs for a disk with an EROFS, as an image has them.
fn kernel_of_image(guest: &Guest) -> Vec<Entry> {
    let modules = guest.modules();
    let place = format!("usr/lib/modules/{}", modules.file_name().unwrap().to_str().unwrap());
    let file = |name: &str| Entry::file(format!("{place}/{name}"), fs::read(modules.join(name)).unwrap());
    let mut entries = vec![
        Entry::file(format!("{place}/vmlinuz"), fs::read(guest.kernel()).unwrap()),
        Entry::symlink("lib", "usr/lib"),
        file("modules.builtin"),
        file("kernel/drivers/block/virtio_blk.ko"),
    ];
    for directory in ["kernel/drivers/virtio", "kernel/fs/erofs", "kernel/lib", "kernel/crypto"] {
        for found in fs::read_dir(modules.join(directory)).unwrap().flatten().filter(|found| found.path().is_file()) {
            entries.push(file(&format!("{directory}/{}", found.file_name().to_str().unwrap())));
        }
    }
    entries
}

/// An init of busybox as the first process of the machine, on the image's own kernel, and one for containers in its own PID
/// namespace.
#[test]
fn init_of_an_image_is_a_first_process() {
    let Some(test) = BootTest::new("amd64") else { return };
    let registry = Registry::start();
    let busybox = fs::read(test.guest.busybox()).unwrap();
    let image = |name: &str, command: &[&str]| {
        let report = "#!/bin/sh\necho \"first: $(cat /proc/1/cmdline | tr '\\0' ' ')$$\"\n\
                      tr '\\0' '\\n' </proc/1/environ | grep -c '^container='\ntest -s /etc/hosts && echo names\n";
        let kernel = if name == "machine" { kernel_of_image(&test.guest) } else { Vec::new() };
        let own = [
            Entry::file("bin/busybox", busybox.clone()).mode(0o755),
            Entry::symlink("bin/sh", "busybox"),
            Entry::symlink("bin/cat", "busybox"),
            Entry::symlink("bin/tr", "busybox"),
            Entry::symlink("bin/grep", "busybox"),
            Entry::symlink("bin/poweroff", "busybox"),
            Entry::symlink("sbin/init", "../bin/busybox"),
            Entry::file("sbin/tini", format!("{report}exit 5\n")).mode(0o755),
            Entry::file("check", format!("{report}poweroff\n")).mode(0o755),
            Entry::file("etc/inittab", "::sysinit:/check\n"),
        ];
        let root = Layer::new(kernel.into_iter().chain(own));
        let image = ImageBuilder::new()
            .platform("linux/amd64")
            .setting("Env", vec!["container=docker"])
            .setting("Cmd", command.to_vec())
            .layer(&root)
            .build();
        serve(&registry, &image, name)
    };
    let boot = |image: String, kernel: Option<&str>| {
        let mut arguments = test.arguments(&["--init=auto", "--timeout=120"]);
        arguments[1] = image;
        let place = arguments.iter().position(|argument| argument == "--kernel").unwrap() + 1;
        kernel.iter().for_each(|kernel| arguments[place] = (*kernel).to_owned());
        let answer = test.program.run(&arguments);
        (answer.status.code(), String::from_utf8_lossy(&answer.stdout).replace('\r', ""))
    };
    let (code, text) = boot(image("machine", &["/sbin/init"]), Some("image"));
    assert_eq!(code, Some(0), "{text}");
    // The init of busybox shortens its name.
    let is_first = ["first: /sbin/init", "first: init"].iter().any(|report| text.contains(report));
    assert!(is_first && text.contains("\n0\nnames\n"), "{text}");
    let (code, text) = boot(image("container", &["/sbin/tini", "--", "x"]), None);
    assert_eq!((code, text.as_str()), (Some(5), "first: /bin/sh /sbin/tini -- x 1\n1\nnames\n"), "{text}");
}
