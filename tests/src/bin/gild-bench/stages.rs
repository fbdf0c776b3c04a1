//! Each stage of a flash alone, on the same threads and in the same pieces as the engine, to see which one bounds it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use gild_disk::{AlignedBuffer, BlockDevice, Target as _};
use gild_format::chunk::{Decoder, sha256};
use gild_format::manifest::Chunk;
use gild_nfs::{NfsUrl, Share};
use gild_source::{Backoff, FileSource, Options, Source};
use gild_tests::ganesha::Ganesha;

use crate::image::Image;
use crate::target::Target;
use crate::{median, seconds};

/// The engine's transfers.
const TRANSFER: usize = 1 << 20;

/// A stage alone.
pub struct Stage {
    /// What it does.
    pub name: &'static str,
    /// Bytes it moves.
    pub bytes: u64,
    /// Median time in seconds.
    pub seconds: f64,
}

/// What a worker owns.
struct Buffers {
    stored: Vec<u8>,
    raw: AlignedBuffer,
    decoder: Decoder,
}

/// Runs each stage alone.
pub fn alone(
    image: &Image,
    server: &Ganesha,
    target: &Target,
    rounds: usize,
) -> Result<Vec<Stage>> {
    let manifest = &image.manifest;
    let data: Vec<&Chunk> = manifest.chunks.iter().filter(|chunk| !chunk.hole).collect();
    let holes: Vec<&Chunk> = manifest.chunks.iter().filter(|chunk| chunk.hole).collect();
    let stored_bytes = data
        .iter()
        .map(|chunk| u64::from(chunk.stored_length))
        .sum();
    let raw_bytes = data.iter().map(|chunk| u64::from(chunk.raw_length)).sum();
    let hole_bytes = holes.iter().map(|chunk| u64::from(chunk.raw_length)).sum();

    let url = NfsUrl::parse(&server.url())?.join(&manifest.board);
    let share = Share::connect(&url, Options::default(), Arc::new(Backoff::attempts(3)))?;
    let wire = share.open(&manifest.stored_file)?;
    let file = FileSource::open(&image.folder().join(&manifest.stored_file))?;
    let disk = if target.is_device() {
        BlockDevice::open(target.path())
    } else {
        BlockDevice::open_file(target.path(), manifest.sector_size)
    }?;
    target.reset()?;

    let mut stages = Vec::new();
    let mut stage = |name, bytes, chunks: &[&Chunk], work: &Work<'_>| -> Result<()> {
        let times = (0..rounds)
            .map(|_| on_all_workers(chunks, work).with_context(|| name))
            .collect::<Result<Vec<_>>>()?;
        stages.push(Stage {
            name,
            bytes,
            seconds: median(seconds(times.into_iter())),
        });
        Ok(())
    };
    stage("NFS read", stored_bytes, &data, &|buffers, chunk| {
        let stored = &mut buffers.stored[..chunk.stored_length as usize];
        Ok(wire.read_exact_at(stored, chunk.stored_offset)?)
    })?;
    stage("decode + SHA-256", raw_bytes, &data, &|buffers, chunk| {
        let Buffers {
            stored,
            raw,
            decoder,
        } = buffers;
        let stored = &mut stored[..chunk.stored_length as usize];
        file.read_exact_at(stored, chunk.stored_offset)?;
        decoder.decode(chunk, stored, &mut raw[..chunk.raw_length as usize])?;
        Ok(())
    })?;
    stage("make holes zero", hole_bytes, &holes, &|_, chunk| {
        disk.zero(chunk.raw_offset, chunk.raw_length.into())?;
        Ok(())
    })?;
    stage("write data", raw_bytes, &data, &|buffers, chunk| {
        let raw = &buffers.raw[..chunk.raw_length as usize];
        for (index, part) in raw.chunks(TRANSFER).enumerate() {
            disk.write_at(part, chunk.raw_offset + (index * TRANSFER) as u64)?;
        }
        Ok(())
    })?;
    disk.flush()?;
    stage("read back", raw_bytes, &data, &|buffers, chunk| {
        read(&disk, buffers, chunk)
    })?;
    stage(
        "read back + SHA-256",
        raw_bytes,
        &data,
        &|buffers, chunk| {
            read(&disk, buffers, chunk)?;
            std::hint::black_box(sha256(&buffers.raw[..chunk.raw_length as usize]));
            Ok(())
        },
    )?;
    Ok(stages)
}

type Work<'a> = dyn Fn(&mut Buffers, &Chunk) -> Result<()> + Sync + 'a;

/// The time until every chunk is dealt with, on as many threads as the engine has.
fn on_all_workers(chunks: &[&Chunk], work: &Work<'_>) -> Result<Duration> {
    let raw = chunks.iter().map(|chunk| chunk.raw_length as usize).max();
    let stored = chunks
        .iter()
        .map(|chunk| chunk.stored_length as usize)
        .max();
    let mut crew = (0..gild_flash::WORKERS)
        .map(|_| {
            let mut raw = AlignedBuffer::new(raw.unwrap_or(0));
            raw.fill(0x5a);
            Ok(Buffers {
                stored: vec![0; stored.unwrap_or(0)],
                raw,
                decoder: Decoder::new()?,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let next = AtomicUsize::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = crew
            .iter_mut()
            .map(|buffers| {
                scope.spawn(|| -> Result<()> {
                    while let Some(chunk) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
                        work(buffers, chunk)?;
                    }
                    Ok(())
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| anyhow!("a worker panicked"))?)
    })?;
    Ok(start.elapsed())
}

fn read(disk: &BlockDevice, buffers: &mut Buffers, chunk: &Chunk) -> Result<()> {
    let raw = &mut buffers.raw[..chunk.raw_length as usize];
    for (index, part) in raw.chunks_mut(TRANSFER).enumerate() {
        disk.read_at(part, chunk.raw_offset + (index * TRANSFER) as u64)?;
    }
    Ok(())
}
