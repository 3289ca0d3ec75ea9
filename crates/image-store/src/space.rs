//! The disk space of images, layers and roots, shared and their own.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use vmroot_cache::{Area, Usage};
use vmroot_model::{Digest, Platform, Reference};
use vmroot_output::TEMPORARY_PREFIX;

use crate::catalogue::Snapshot;
use crate::collect::list;
use crate::root::chain_id;
use crate::{Error, Record, Result, Store, metadata};

/// The disk space of a store, by image, layer and root.
///
/// The files of an image are its blobs, its layers and its root, and its records. A file that several images need is
/// shared. For each area, [`Self::shared`], [`Self::unneeded`] and the [unique](ImageSpace::unique) files of all images
/// are together the area as [`Store::usage`] measures it.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SpaceUsage {
    /// The images, ordered by name. An image with several names or platforms counts once.
    pub images: Vec<ImageSpace>,
    /// The layers that images need, the largest first.
    pub layers: Vec<LayerSpace>,
    /// The roots of images, the largest first.
    pub roots: Vec<RootSpace>,
    /// The files that more than one image needs, each counted once.
    pub shared: Usage,
    /// The files that no image needs. [`Store::collect`] removes them, except those in use and in quarantine.
    pub unneeded: Usage,
    /// The files that images need.
    files: Vec<OwnedFile>,
}

/// The disk space of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageSpace {
    /// The id.
    pub id: Digest,
    /// The names.
    pub references: Vec<Reference>,
    /// The platforms for which the image is recorded.
    pub platforms: Vec<Platform>,
    /// The time when the image was built, as its config has it.
    pub created: Option<String>,
    /// All files of the image.
    pub total: Usage,
    /// The files that no other image needs: removing the image and [`Store::collect`] free them, unless they are in use.
    pub unique: Usage,
}

/// The disk space of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerSpace {
    /// The digest of the layer's uncompressed tar.
    pub diff_id: Digest,
    /// The layer's blobs: usually one. Blobs of other compressions have the same diff id.
    pub blobs: Area,
    /// The index and the contents.
    pub files: Area,
    /// The ids of the images that have the layer, sorted.
    pub images: Vec<Digest>,
}

/// The disk space of a merged root.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RootSpace {
    /// The chain id of the layers.
    pub chain_id: Digest,
    /// The index of the root.
    pub files: Area,
    /// The ids of the images that have the root, sorted.
    pub images: Vec<Digest>,
}

/// Identifies a file of an image. Layers and roots are identified by the stems of their file names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Name {
    /// `None` for a file without the name of a blob.
    Blob(Option<Digest>),
    Layer(String),
    Root(String),
    Record(String),
}

#[derive(Debug, Clone)]
struct OwnedFile {
    name: Name,
    area: Area,
    /// The positions of the images that need it, in ascending order.
    owners: Arc<[u32]>,
}

impl ImageSpace {
    /// Returns the files that other images need as well.
    pub fn shared(&self) -> Area {
        let (total, unique) = (self.total.total(), self.unique.total());
        Area {
            files: total.files - unique.files,
            bytes: total.bytes - unique.bytes,
            disk_bytes: total.disk_bytes - unique.disk_bytes,
        }
    }
}

impl SpaceUsage {
    /// Returns the files that only images with these ids need: removing all of them together frees these.
    pub fn unique_to(&self, ids: &[Digest]) -> Usage {
        let chosen: HashSet<u32> = (0_u32..)
            .zip(&self.images)
            .filter(|(_, image)| ids.contains(&image.id))
            .map(|(number, _)| number)
            .collect();
        let mut usage = Usage::default();
        for file in self.files.iter().filter(|file| file.owners.iter().all(|owner| chosen.contains(owner))) {
            *file.name.area_in(&mut usage) += file.area;
        }
        usage
    }
}

impl Name {
    fn area_in<'u>(&self, usage: &'u mut Usage) -> &'u mut Area {
        match self {
            Self::Blob(_) => &mut usage.blobs,
            Self::Layer(_) => &mut usage.layers,
            Self::Root(_) => &mut usage.roots,
            Self::Record(_) => &mut usage.images,
        }
    }
}

/// The images that need each file.
#[derive(Default)]
struct Owners {
    by_name: HashMap<Name, Vec<u32>>,
    layers: BTreeMap<Digest, LayerOwners>,
    roots: BTreeMap<Digest, Vec<u32>>,
}

#[derive(Default)]
struct LayerOwners {
    blobs: Vec<Digest>,
    images: Vec<u32>,
}

/// Adds a position to an ascending list.
fn push(owners: &mut Vec<u32>, owner: u32) {
    if owners.last() != Some(&owner) {
        owners.push(owner);
    }
}

impl Owners {
    fn add(&mut self, owner: u32, record: &Record) {
        let mut needs = |name| push(self.by_name.entry(name).or_default(), owner);
        for digest in record.documents() {
            needs(Name::Blob(Some(*digest)));
        }
        let diff_ids: Vec<Digest> = record.layers.iter().map(|layer| layer.diff_id).collect();
        let root = chain_id(&diff_ids);
        needs(Name::Root(root.hex()));
        needs(Name::Record(record.key().hex()));
        needs(Name::Record(record.id().hex()));
        for layer in &record.layers {
            needs(Name::Blob(Some(layer.digest)));
            needs(Name::Layer(layer.diff_id.hex()));
        }
        push(self.roots.entry(root).or_default(), owner);
        for layer in &record.layers {
            let owners = self.layers.entry(layer.diff_id).or_default();
            push(&mut owners.images, owner);
            if !owners.blobs.contains(&layer.digest) {
                owners.blobs.push(layer.digest);
            }
        }
    }
}

impl Store {
    /// Measures the disk space of each image, layer and root.
    ///
    /// Files that other programs add or remove meanwhile may be missing in the result.
    ///
    /// # Errors
    /// - [`Error::Cache`] if a directory cannot be listed.
    /// - [`Error::Cancelled`] if the work was cancelled.
    pub fn space(&self) -> Result<SpaceUsage> {
        if self.is_missing() {
            return Ok(SpaceUsage::default());
        }
        let snapshot = self.snapshot()?;
        let mut usage = SpaceUsage { images: images(&snapshot), ..SpaceUsage::default() };
        let mut owners = Owners::default();
        for (number, image) in (0_u32..).zip(&usage.images) {
            snapshot.by_id[&image.id].iter().for_each(|record| owners.add(number, record));
        }
        self.measure(&owners, &mut usage)?;
        usage.summarise(&owners);
        Ok(usage)
    }

    /// Measures the files of all areas, and assigns each to the images that need it.
    fn measure(&self, owners: &Owners, usage: &mut SpaceUsage) -> Result<()> {
        let mut shared: HashMap<&Name, Arc<[u32]>> = HashMap::new();
        let mut take = |path: &Path, name: Option<Name>| -> Result<()> {
            self.check_cancelled()?;
            let area = Area::of_file(path).map_err(Error::from)?;
            match name.as_ref().and_then(|name| owners.by_name.get_key_value(name)) {
                Some((name, of)) => {
                    let owners = Arc::clone(shared.entry(name).or_insert_with(|| of.as_slice().into()));
                    usage.files.push(OwnedFile { name: name.clone(), area, owners });
                }
                None => *unneeded_area(path, name.as_ref(), &mut usage.unneeded) += area,
            }
            Ok(())
        };
        let layout = self.cache.layout();
        for algorithm in [vmroot_model::Algorithm::Sha256, vmroot_model::Algorithm::Sha512] {
            for path in list(&layout.blobs(algorithm))? {
                let hex = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let digest = Digest::parse(&format!("{}:{hex}", algorithm.name())).ok();
                take(&path, Some(Name::Blob(digest)))?;
            }
        }
        let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for path in list(&layout.layers())? {
            take(&path, Some(Name::Layer(stem(&path))))?;
        }
        for path in list(&layout.roots())? {
            take(&path, Some(Name::Root(stem(&path))))?;
        }
        for path in list(&layout.images())? {
            // A record and metadata may have the same stem only by a collision of SHA-256.
            let is_own =
                metadata::is_metadata(&path) || path.extension().is_some_and(|it| it == "json" || it == "copy");
            take(&path, Some(Name::Record(if is_own { stem(&path) } else { String::new() })))?;
        }
        for path in list(&layout.quarantine())? {
            take(&path, None)?;
        }
        Ok(())
    }
}

/// Returns the area of a file that no image needs, as [`vmroot_cache::Cache::usage`] counts it.
fn unneeded_area<'u>(path: &Path, name: Option<&Name>, usage: &'u mut Usage) -> &'u mut Area {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    match name {
        _ if file.starts_with(TEMPORARY_PREFIX) || file.ends_with(".partial") => &mut usage.unfinished,
        Some(name) => name.area_in(usage),
        None => &mut usage.quarantine,
    }
}

/// Returns the images of a snapshot, ordered by name, without their space.
fn images(snapshot: &Snapshot) -> Vec<ImageSpace> {
    let mut seen = HashSet::new();
    let ids = snapshot.records.iter().map(|record| *record.id()).filter(|id| seen.insert(*id));
    let image = |id: Digest| {
        let records = &snapshot.by_id[&id];
        let mut platforms: Vec<Platform> = Vec::new();
        for record in records.iter().filter(|record| record.id() == &id) {
            if !platforms.contains(&record.platform) {
                platforms.push(record.platform.clone());
            }
        }
        let mut references: Vec<Reference> = records.iter().filter_map(|record| record.reference.clone()).collect();
        references.dedup();
        let created = records.iter().find_map(|record| record.created.clone());
        ImageSpace { id, references, platforms, created, total: Usage::default(), unique: Usage::default() }
    };
    ids.map(image).collect()
}

impl SpaceUsage {
    /// Adds up the files by image, layer and root.
    fn summarise(&mut self, owners: &Owners) {
        let mut sizes: HashMap<&Name, Area> = HashMap::new();
        for file in &self.files {
            *sizes.entry(&file.name).or_default() += file.area;
            for &owner in &*file.owners {
                *file.name.area_in(&mut self.images[owner as usize].total) += file.area;
            }
            match *file.owners {
                [only] => *file.name.area_in(&mut self.images[only as usize].unique) += file.area,
                _ => *file.name.area_in(&mut self.shared) += file.area,
            }
        }
        let size = |name: Name| sizes.get(&name).copied().unwrap_or_default();
        let ids = |numbers: &[u32]| {
            let mut ids: Vec<Digest> = numbers.iter().map(|&number| self.images[number as usize].id).collect();
            ids.sort_unstable();
            ids
        };
        let layer = |(diff_id, of): (&Digest, &LayerOwners)| LayerSpace {
            diff_id: *diff_id,
            blobs: of.blobs.iter().map(|digest| size(Name::Blob(Some(*digest)))).sum(),
            files: size(Name::Layer(diff_id.hex())),
            images: ids(&of.images),
        };
        let root = |(chain_id, of): (&Digest, &Vec<u32>)| RootSpace {
            chain_id: *chain_id,
            files: size(Name::Root(chain_id.hex())),
            images: ids(of),
        };
        let mut layers: Vec<LayerSpace> = owners.layers.iter().map(layer).collect();
        let mut roots: Vec<RootSpace> = owners.roots.iter().map(root).collect();
        layers.sort_by_key(|layer| std::cmp::Reverse(layer.blobs.disk_bytes + layer.files.disk_bytes));
        roots.sort_by_key(|root| std::cmp::Reverse(root.files.disk_bytes));
        (self.layers, self.roots) = (layers, roots);
    }
}
