//! What `compcache bench --tiers` found, as text.

use compcache_bench::tiers::{
    CopiesResult, LongResult, TierCounters, TierSetting, TiersResult, WritebackResult,
};

use super::{percentiles, row, table};
use crate::units::{bytes, grouped};

/// All parts.
pub(super) fn tiers(result: &TiersResult) -> String {
    let mut text = String::new();
    // Results of earlier versions do not say.
    if !result.codecs.is_empty() {
        let codecs = &result.codecs;
        text = format!("\nTiers: codec of new pages and of cold ones: {codecs}\n");
    }
    for (name, setting) in result.settings() {
        text.push_str(&settings_memory(name, setting));
        text.push_str(&settings_times(name, setting));
    }
    text.push_str(&copies_text(&result.copies));
    text.push_str(&writeback_text(&result.writeback));
    if let Some(long) = &result.long {
        text.push_str(&long_text(long));
    }
    text
}

fn settings_memory(name: &str, setting: &TierSetting) -> String {
    let mut table = table(&[
        "store",
        "pages",
        "memory",
        "cache",
        "tables",
        "workspaces",
        "ratio",
        "of lz4's",
        "CPU s",
        "behind",
        "wrong",
    ]);
    for store in &setting.stores {
        let memory = &store.memory;
        row(
            &mut table,
            vec![
                store.name.clone(),
                grouped(memory.pages_held),
                bytes(memory.total_bytes()),
                bytes(memory.mem_used_total + memory.beside_bytes),
                bytes(memory.table_bytes),
                bytes(memory.workspace_bytes),
                format!("{:.3}", store.effective_ratio),
                format!("{:.3}", store.effective_ratio / setting.lz4_effective_ratio),
                format!("{:.2}", store.cpu_s),
                format!("{:.2}", store.background_cpu_s),
                grouped(store.mismatches),
            ],
        );
    }
    let mut text = format!(
        "\nTiers, {name}: {} of the pages are hot; {} operations\n{table}\n",
        grouped(setting.hot_pages),
        grouped(setting.operations)
    );
    for store in &setting.stores {
        if store.counters != TierCounters::default() {
            text.push_str(&format!(
                "{}: {}\n",
                store.name,
                counters_text(&store.counters)
            ));
        }
    }
    text
}

fn settings_times(name: &str, setting: &TierSetting) -> String {
    let mut table = table(&["store", "operation", "mean", "p50", "p99", "p99.9", "max"]);
    for store in &setting.stores {
        for (operation, latency) in [
            ("get", &store.get_ns),
            ("get, hot", &store.hot_get_ns),
            ("get, cold", &store.cold_get_ns),
            ("put", &store.put_ns),
            ("put, filling", &store.fill_put_ns),
        ] {
            let mut cells = vec![store.name.clone(), operation.to_owned()];
            cells.extend(percentiles(latency));
            row(&mut table, cells);
        }
    }
    let mut text = format!("\nTiers, {name}: time of one page\n{table}\n");
    text.push_str(&format!(
        "tiered, of lz4's: median hot get {:.3}, mean get {:.3}, mean put {:.3}, while filling {:.3}\n",
        setting.hot_get_p50_vs_lz4,
        setting.mean_get_vs_lz4,
        setting.put_vs_lz4,
        setting.fill_put_vs_lz4,
    ));
    text
}

fn counters_text(counters: &TierCounters) -> String {
    format!(
        "{} pages recompressed, {} in {} clusters, {} duplicates, {} patches, {} promoted, {} records written back, {} read back",
        grouped(counters.recompressed),
        grouped(counters.clustered_pages),
        grouped(counters.clusters),
        grouped(counters.duplicates),
        grouped(counters.patches),
        grouped(counters.promoted),
        grouped(counters.written_back),
        grouped(counters.read_back),
    )
}

fn copies_text(copies: &CopiesResult) -> String {
    let unrelated = &copies.unrelated;
    format!(
        "\nTiers, copies: a second copy of {} pages, {} blocks changed in {} of them, takes {}, {:.3} of what lz4 takes for it ({})\n\
         {}\n\
         On {} unrelated pages the search for copies takes {:.3} times the time of puts and {:.4} times the memory\n",
        grouped(copies.pages),
        grouped(copies.changed_blocks),
        grouped(copies.changed_pages),
        bytes(copies.second_copy_bytes),
        copies.second_copy_vs_lz4,
        bytes(copies.lz4_second_copy_bytes),
        counters_text(&copies.counters),
        grouped(unrelated.pages),
        unrelated.put_on_vs_off,
        unrelated.memory_on_vs_off,
    )
}

fn writeback_text(back: &WritebackResult) -> String {
    let mut table = table(&["operation", "mean", "p50", "p99", "p99.9", "max"]);
    for (operation, latency) in [("get", &back.get_ns), ("put", &back.put_ns)] {
        let mut cells = vec![operation.to_owned()];
        cells.extend(percentiles(latency));
        row(&mut table, cells);
    }
    format!(
        "\nTiers, writeback: {} pages with a limit of {} where {} are needed; at most {} were used\n\
         the file takes {} for {} of compressed bytes, {:.4}; {} runs of text looked for in it, {} found\n\
         {} gets, {} failed, {} wrong; {} puts waited; {}\n{table}\n",
        grouped(back.pages_held),
        bytes(back.mem_limit),
        bytes(back.needed_bytes),
        bytes(back.mem_used_max),
        bytes(back.file_bytes),
        bytes(back.compressed_bytes),
        back.file_per_compressed,
        grouped(back.text_runs),
        grouped(back.text_runs_found),
        grouped(back.gets),
        grouped(back.unreadable),
        grouped(back.mismatches),
        grouped(back.put_waits),
        counters_text(&back.counters),
    )
}

fn long_text(long: &LongResult) -> String {
    let mut table = table(&[
        "store",
        "used/compressed, most",
        "ratio, last",
        "CPU s",
        "behind",
        "wrong",
    ]);
    for store in &long.stores {
        let last = store
            .samples
            .last()
            .map_or(0.0, |last| last.effective_ratio);
        row(
            &mut table,
            vec![
                store.name.clone(),
                format!("{:.4}", store.used_per_compressed_max),
                format!("{last:.3}"),
                format!("{:.1}", store.cpu_s),
                format!("{:.1}", store.background_cpu_s),
                grouped(store.mismatches),
            ],
        );
    }
    format!(
        "\nTiers, long run: {} operations, {:.1} logical hours; the hot set moves each hour\n{table}\n",
        grouped(long.operations),
        long.logical_s as f64 / 3600.0
    )
}
