//! A stored image as a disk: its chunks are decoded as they are read, and few of them are kept.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use gild_format::chunk::Decoder;
use gild_format::{Chunk, Manifest, Sha256Hex};
use gild_inspect::Storage;
use gild_source::Source;

use crate::published::Place;

/// Bytes of decoded chunks that are kept for both images: their tables lie in many places.
const KEPT: usize = 128 << 20;

/// Decoded chunks, the one that was read last in front. What both images have is decoded once.
#[derive(Default)]
pub struct Kept {
    chunks: VecDeque<(Sha256Hex, Arc<[u8]>)>,
    bytes: usize,
}

impl Kept {
    fn find(&mut self, digest: Sha256Hex) -> Option<Arc<[u8]>> {
        let index = self.chunks.iter().position(|(of, _)| *of == digest)?;
        let found = self.chunks.remove(index)?;
        let bytes = Arc::clone(&found.1);
        self.chunks.push_front(found);
        Some(bytes)
    }

    fn put(&mut self, digest: Sha256Hex, bytes: Arc<[u8]>) {
        self.bytes += bytes.len();
        self.chunks.push_front((digest, bytes));
        while self.bytes > KEPT
            && let Some((_, oldest)) = self.chunks.pop_back()
        {
            self.bytes -= oldest.len();
        }
    }
}

/// A stored image.
pub struct Stored {
    manifest: Manifest,
    source: Box<dyn Source>,
    decoder: Mutex<Decoder>,
    kept: Arc<Mutex<Kept>>,
    /// Why a chunk could not be read: readers of file systems pass on no more than its words.
    failure: Mutex<Option<anyhow::Error>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stored {
    /// The stored image of this manifest, which lies in this folder.
    pub fn open(folder: &Path, manifest: Manifest, kept: &Arc<Mutex<Kept>>) -> Result<Self> {
        let place = Place::Folder(folder.to_owned());
        Ok(Self {
            source: place.source(&manifest.stored_file, manifest.stored_size)?,
            manifest,
            decoder: Mutex::new(Decoder::new()?),
            kept: Arc::clone(kept),
            failure: Mutex::default(),
        })
    }

    /// Why the last read failed, if that was for the stored image, and not for what it holds.
    pub fn failure(&self) -> Option<anyhow::Error> {
        locked(&self.failure).take()
    }

    /// Whether both images have the same bytes in this range, by the digests of their chunks.
    pub fn is_same(&self, other: &Self, range: &Range<u64>) -> bool {
        let (one, other) = (&self.manifest, &other.manifest);
        if one.chunk_size != other.chunk_size {
            return false;
        }
        let lies_in = |chunk: &&Chunk| {
            chunk.raw_offset < range.end
                && chunk.raw_offset + u64::from(chunk.raw_length) > range.start
        };
        let digests = |of: &Manifest| -> Vec<Sha256Hex> {
            let chunks = of.chunks.iter().filter(lies_in);
            chunks.map(|chunk| chunk.sha256).collect()
        };
        digests(one) == digests(other)
    }

    fn decoded(&self, chunk: &Chunk) -> Result<Arc<[u8]>> {
        if let Some(bytes) = locked(&self.kept).find(chunk.sha256) {
            return Ok(bytes);
        }
        let mut frame = vec![0; chunk.stored_length as usize];
        self.source.read_exact_at(&mut frame, chunk.stored_offset)?;
        let mut raw = vec![0; chunk.raw_length as usize];
        locked(&self.decoder).decode(chunk, &frame, &mut raw)?;
        let raw: Arc<[u8]> = raw.into();
        locked(&self.kept).put(chunk.sha256, Arc::clone(&raw));
        Ok(raw)
    }
}

impl Storage for Stored {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            let at = offset + done as u64;
            // All chunks but the last have one length.
            let index = usize::try_from(at / u64::from(self.manifest.chunk_size)).ok();
            let chunk = index.and_then(|index| self.manifest.chunks.get(index));
            let chunk = chunk.ok_or(io::ErrorKind::UnexpectedEof)?;
            let within = usize::try_from(at - chunk.raw_offset).unwrap_or(usize::MAX);
            let left = (chunk.raw_length as usize).saturating_sub(within);
            let length = left.min(buffer.len() - done);
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let part = &mut buffer[done..done + length];
            if chunk.hole {
                part.fill(0);
            } else {
                let raw = self.decoded(chunk).map_err(|error| {
                    let words = io::Error::other(format!("{error:#}"));
                    locked(&self.failure).get_or_insert(error);
                    words
                })?;
                part.copy_from_slice(&raw[within..within + length]);
            }
            done += length;
        }
        Ok(())
    }
}
