/*
 * A stand-in for FoundationDB's client library: the same names, each a jump through a slot that
 * tidemark_fdb_load() fills from the real libfdb_c.so. So a program that can use FoundationDB
 * starts on a machine that has none of it.
 *
 * The names are hidden, so that the real library never finds ours instead of its own.
 * Jumps instead of C functions: they need no prototypes, hence none that could be wrong.
 */
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

/* Every function that the crate `foundationdb` refers to; a missing one fails to link. */
#define FOR_EACH_FUNCTION(DO)                      \
    DO(fdb_create_database)                        \
    DO(fdb_database_create_transaction)            \
    DO(fdb_database_destroy)                       \
    DO(fdb_database_get_client_status)             \
    DO(fdb_database_get_main_thread_busyness)      \
    DO(fdb_database_open_tenant)                   \
    DO(fdb_error_predicate)                        \
    DO(fdb_future_destroy)                         \
    DO(fdb_future_get_error)                       \
    DO(fdb_future_get_int64)                       \
    DO(fdb_future_get_key)                         \
    DO(fdb_future_get_key_array)                   \
    DO(fdb_future_get_keyvalue_array)              \
    DO(fdb_future_get_mappedkeyvalue_array)        \
    DO(fdb_future_get_string_array)                \
    DO(fdb_future_get_value)                       \
    DO(fdb_future_is_ready)                        \
    DO(fdb_future_set_callback)                    \
    DO(fdb_get_error)                              \
    DO(fdb_get_max_api_version)                    \
    DO(fdb_network_set_option)                     \
    DO(fdb_run_network)                            \
    DO(fdb_select_api_version_impl)                \
    DO(fdb_setup_network)                          \
    DO(fdb_stop_network)                           \
    DO(fdb_database_set_option)                    \
    DO(fdb_tenant_create_transaction)              \
    DO(fdb_tenant_destroy)                         \
    DO(fdb_transaction_add_conflict_range)         \
    DO(fdb_transaction_atomic_op)                  \
    DO(fdb_transaction_cancel)                     \
    DO(fdb_transaction_clear)                      \
    DO(fdb_transaction_clear_range)                \
    DO(fdb_transaction_commit)                     \
    DO(fdb_transaction_destroy)                    \
    DO(fdb_transaction_get)                        \
    DO(fdb_transaction_get_addresses_for_key)      \
    DO(fdb_transaction_get_approximate_size)       \
    DO(fdb_transaction_get_committed_version)      \
    DO(fdb_transaction_get_estimated_range_size_bytes) \
    DO(fdb_transaction_get_key)                    \
    DO(fdb_transaction_get_mapped_range)           \
    DO(fdb_transaction_get_range)                  \
    DO(fdb_transaction_get_range_split_points)     \
    DO(fdb_transaction_get_read_version)           \
    DO(fdb_transaction_get_versionstamp)           \
    DO(fdb_transaction_on_error)                   \
    DO(fdb_transaction_reset)                      \
    DO(fdb_transaction_set)                        \
    DO(fdb_transaction_set_option)                 \
    DO(fdb_transaction_set_read_version)           \
    DO(fdb_transaction_watch)

#define HIDDEN __attribute__((visibility("hidden")))

/* Where a slot leads until the library is loaded. */
static void not_loaded(void) {
    fputs("tidemark: FoundationDB was called before its client library was loaded; this is a bug\n", stderr);
    abort();
}

#if defined(__x86_64__)
#define JUMP(name) "  jmp *tidemark_slot_" #name "(%rip)\n"
#elif defined(__aarch64__)
/* x16 is the register that linkers use for the same purpose. */
#define JUMP(name)                                    \
    "  adrp x16, tidemark_slot_" #name "\n"           \
    "  ldr x16, [x16, #:lo12:tidemark_slot_" #name "]\n" \
    "  br x16\n"
#else
#error "FoundationDB has no client library for this processor; build without the feature fdb"
#endif

#define DEFINE(name)                                  \
    HIDDEN void *tidemark_slot_##name = (void *)not_loaded; \
    __asm__(".text\n"                                 \
            ".p2align 4\n"                            \
            ".globl " #name "\n"                      \
            ".hidden " #name "\n"                     \
            ".type " #name ", %function\n"            \
            #name ":\n" JUMP(name)                    \
            ".size " #name ", . - " #name "\n");

FOR_EACH_FUNCTION(DEFINE)

#define ROW(name) {#name, &tidemark_slot_##name},

static const struct {
    const char *name;
    void **slot;
} FUNCTIONS[] = {FOR_EACH_FUNCTION(ROW)};

enum { FUNCTION_COUNT = sizeof FUNCTIONS / sizeof FUNCTIONS[0] };

/*
 * Loads `library` (a path, or a name for the loader's own search) and fills every slot, or none.
 * Returns 1 when it is loaded, else 0 and up to `reason_bytes` of the reason, with its end.
 * Must not be called by two threads at once. The library is never unloaded.
 */
HIDDEN int tidemark_fdb_load(const char *library, char *reason, size_t reason_bytes) {
    void *found[FUNCTION_COUNT];
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        const char *text = dlerror();
        snprintf(reason, reason_bytes, "%s", text == NULL ? "the loader gives no reason" : text);
        return 0;
    }
    for (size_t index = 0; index < FUNCTION_COUNT; index++) {
        found[index] = dlsym(handle, FUNCTIONS[index].name);
        if (found[index] == NULL) {
            snprintf(reason, reason_bytes, "it has no function %s", FUNCTIONS[index].name);
            dlclose(handle);
            return 0;
        }
    }
    for (size_t index = 0; index < FUNCTION_COUNT; index++) {
        *FUNCTIONS[index].slot = found[index];
    }
    return 1;
}
