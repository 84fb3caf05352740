/* Read the settings of a source plugin in C or C++. Needs framegate_plugin.h, and no library.
 *
 * `create` gets the settings as text, a JSON object such as {"host": "camera1", "port": 9000}. Each function looks up
 * one key. A missing key leaves *value unchanged, so put the default there first:
 *
 *     static const char *const known[] = {"host", "port", NULL};
 *     char host[256];
 *     int64_t port = 9000;
 *     if (framegate_settings_known(settings, known, error) != FRAMEGATE_OUTCOME_DONE ||
 *         framegate_setting_required(settings, "host", error) != FRAMEGATE_OUTCOME_DONE ||
 *         framegate_setting_str(settings, "host", host, sizeof host, error) != FRAMEGATE_OUTCOME_DONE ||
 *         framegate_setting_int(settings, "port", &port, error) != FRAMEGATE_OUTCOME_DONE)
 *         return FRAMEGATE_OUTCOME_FAILED;
 *
 * On failure the functions put a message of kind SETTINGS into `error`, leave *value unchanged and return FAILED:
 * `settings.port: expected a whole number, found "abc"`. null is a value of the wrong type. If a key occurs twice, the
 * last one counts. Lists and objects are skipped. Each call checks that the whole text is JSON. [any thread] */
#ifndef FRAMEGATE_SETTINGS_H
#define FRAMEGATE_SETTINGS_H

#include <errno.h>
#include <float.h>
#include <stdbool.h>
#include <stdlib.h>

#include "framegate_plugin.h"

/* ---- Internal: do not use names with framegate_json in a plugin -------------------------------------------------- */

/* A text, how much of it was read, and what was found among the keys of the settings. */
struct framegate_json {
    const uint8_t *data;
    size_t len, at;
    const char *const *keys;       /* to look for; NULL at the end */
    struct framegate_text found;   /* the value of the last key that is in `keys`, or empty */
    struct framegate_text unknown; /* the first key that is not in `keys`, with its quotes, or empty */
    char bytes[4];                 /* the last character of a string, as UTF-8 */
};

/* Takes the next byte; -1 at the end. */
FRAMEGATE_HELPER int framegate_json_take(struct framegate_json *json) {
    return json->at < json->len ? json->data[json->at++] : -1;
}

/* Takes the next byte if it is one of these. */
FRAMEGATE_HELPER bool framegate_json_next(struct framegate_json *json, const char *any) {
    bool is = json->at < json->len && json->data[json->at] != 0 && strchr(any, json->data[json->at]) != NULL;
    json->at += is;
    return is;
}

/* Skips white space. Returns the position after it. */
FRAMEGATE_HELPER size_t framegate_json_space(struct framegate_json *json) {
    while (framegate_json_next(json, " \t\n\r")) continue;
    return json->at;
}

/* Skips white space, then takes the next byte if it is this one. */
FRAMEGATE_HELPER bool framegate_json_sign(struct framegate_json *json, const char *sign) {
    framegate_json_space(json);
    return framegate_json_next(json, sign);
}

/* Takes four hexadecimal digits; -1 if they are not. */
FRAMEGATE_HELPER int32_t framegate_json_hex(struct framegate_json *json) {
    int32_t unit = 0;
    for (int i = 0; i < 4; i++) {
        int c = framegate_json_take(json), letter = c | 0x20;
        int digit = c >= '0' && c <= '9' ? c - '0' : letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
        if (digit < 0) return -1;
        unit = unit * 16 + digit;
    }
    return unit;
}

/* Takes one character of a string into `bytes`. Returns its length; 0 for the closing quote; -1 if it is not JSON. */
FRAMEGATE_HELPER int framegate_json_character(struct framegate_json *json) {
    static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    int c = framegate_json_take(json);
    if (c == '"') return 0;
    if (c < 0x20) return -1;
    if (c != '\\') return json->bytes[0] = (char)c, 1; /* a character of several bytes comes byte by byte */
    c = framegate_json_take(json);
    if (c != 'u' && (c <= 0 || strchr(names, c) == NULL)) return -1;
    if (c != 'u') return json->bytes[0] = meanings[strchr(names, c) - names], 1;
    int32_t code = framegate_json_hex(json);
    if (code >= 0xd800 && code <= 0xdfff) { /* a surrogate: a character above U+FFFF is written as two escapes */
        bool pair = code < 0xdc00 && framegate_json_take(json) == '\\' && framegate_json_take(json) == 'u';
        int32_t low = pair ? framegate_json_hex(json) : -1;
        code = low >= 0xdc00 && low <= 0xdfff ? 0x10000 + (code - 0xd800) * 0x400 + (low - 0xdc00) : -1;
    }
    if (code < 0) return -1;
    int more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    for (int i = more; i > 0; i--, code /= 0x40) json->bytes[i] = (char)(0x80 | (code & 0x3f));
    json->bytes[0] = (char)("\0\xc0\xe0\xf0"[more] | code);
    return more + 1;
}

/* Takes the rest of a string, after its opening quote. */
FRAMEGATE_HELPER bool framegate_json_string(struct framegate_json *json) {
    int len;
    while ((len = framegate_json_character(json)) > 0) continue;
    return len == 0;
}

/* Whether a valid string, which begins with its quote, means this key. */
FRAMEGATE_HELPER bool framegate_json_means(struct framegate_text string, const char *key) {
    struct framegate_json json = {string.data, string.len, 1, NULL, {NULL, 0}, {NULL, 0}, {0}};
    for (int len; (len = framegate_json_character(&json)) > 0; key += len)
        if (json.bytes[0] == 0 || strncmp(key, json.bytes, (size_t)len) != 0) return false; /* \u0000 is not its end */
    return *key == 0;
}

/* Takes digits; false if there are none. */
FRAMEGATE_HELPER bool framegate_json_digits(struct framegate_json *json) {
    size_t start = json->at;
    while (framegate_json_next(json, "0123456789")) continue;
    return json->at > start;
}

/* Takes a string, true, false, null or a number. */
FRAMEGATE_HELPER bool framegate_json_scalar(struct framegate_json *json) {
    if (framegate_json_next(json, "\"")) return framegate_json_string(json);
    const char *rest = framegate_json_next(json, "t") ? "rue" : framegate_json_next(json, "f") ? "alse" : NULL;
    if (rest == NULL && framegate_json_next(json, "n")) rest = "ull";
    for (; rest != NULL && *rest != 0; rest++)
        if (framegate_json_take(json) != *rest) return false;
    if (rest != NULL) return true;
    framegate_json_next(json, "-");
    if (!framegate_json_next(json, "0") && !framegate_json_digits(json)) return false;
    if (framegate_json_next(json, ".") && !framegate_json_digits(json)) return false;
    if (!framegate_json_next(json, "eE")) return true;
    framegate_json_next(json, "+-");
    return framegate_json_digits(json);
}

/* Takes one value inside `depth` others. */
FRAMEGATE_HELPER bool framegate_json_value(struct framegate_json *json, int depth) {
    bool object = framegate_json_sign(json, "{");
    if (!object && !framegate_json_sign(json, "[")) return framegate_json_scalar(json);
    if (depth == 128) return false; /* limits the use of the stack; serde_json reads 127 levels */
    if (framegate_json_sign(json, object ? "}" : "]")) return true;
    do {
        struct framegate_text key = {json->data + framegate_json_space(json), 0};
        if (object && !(framegate_json_next(json, "\"") && framegate_json_string(json))) return false;
        key.len = (size_t)(json->data + json->at - key.data);
        if (object && !framegate_json_sign(json, ":")) return false;
        size_t start = framegate_json_space(json), i = 0;
        if (!framegate_json_value(json, depth + 1)) return false;
        if (depth > 0 || !object) continue;
        while (json->keys[i] != NULL && !framegate_json_means(key, json->keys[i])) i++;
        struct framegate_text value = {json->data + start, json->at - start};
        if (json->keys[i] != NULL) json->found = value;
        else if (json->unknown.len == 0) json->unknown = key;
    } while (framegate_json_sign(json, ","));
    return framegate_json_sign(json, object ? "}" : "]");
}

/* Reads the settings, and looks for these keys. */
FRAMEGATE_HELPER int32_t framegate_json_read(struct framegate_json *json, struct framegate_text settings,
                                             const char *const *keys, struct framegate_error *error) {
    struct framegate_json start = {settings.data, settings.len, 0, keys, {NULL, 0}, {NULL, 0}, {0}};
    *json = start;
    size_t first = framegate_json_space(json);
    if (framegate_json_value(json, 0) && settings.data[first] == '{' && framegate_json_space(json) == json->len)
        return FRAMEGATE_OUTCOME_DONE;
    return framegate_failf(error, FRAMEGATE_ERROR_KIND_SETTINGS, "settings: not a JSON object (byte %zu)", json->at);
}

/* How many bytes of a text a message shows: some 40, and no part of a character. */
FRAMEGATE_HELPER int framegate_json_shown(struct framegate_text text) {
    int shown = text.len < 40 ? (int)text.len : 40;
    while (shown > 0 && (size_t)shown < text.len && (text.data[shown] & 0xc0) == 0x80) shown--;
    return shown;
}

/* Puts the message for a value of the wrong type into error. */
FRAMEGATE_HELPER int32_t framegate_json_wrong(const char *key, const char *expected, struct framegate_text found,
                                              struct framegate_error *error) {
    return framegate_failf(error, FRAMEGATE_ERROR_KIND_SETTINGS, "settings.%s: expected %s, found %.*s%s", key,
                           expected, framegate_json_shown(found), (const char *)found.data, found.len > 40 ? "..." : "");
}

/* Finds a setting: *found is its JSON, or empty if the key is missing. `begins`: how the expected type can begin. */
FRAMEGATE_HELPER int32_t framegate_json_find(struct framegate_text settings, const char *key, const char *begins,
                                             const char *expected, struct framegate_text *found,
                                             struct framegate_error *error) {
    const char *const keys[] = {key, NULL};
    struct framegate_json json;
    int32_t outcome = framegate_json_read(&json, settings, keys, error);
    found->len = 0;
    if (outcome != FRAMEGATE_OUTCOME_DONE || json.found.len == 0) return outcome;
    *found = json.found;
    if (begins == NULL || strchr(begins, found->data[0]) != NULL) return outcome;
    found->len = 0;
    return framegate_json_wrong(key, expected, json.found, error);
}

/* ---- For plugins ------------------------------------------------------------------------------------------------- */

/* Refuses keys that are not in this list, so that people notice a misspelled one. NULL ends the list. */
FRAMEGATE_HELPER int32_t framegate_settings_known(struct framegate_text settings, const char *const *keys,
                                                  struct framegate_error *error) {
    struct framegate_json json;
    int32_t outcome = framegate_json_read(&json, settings, keys, error);
    if (outcome != FRAMEGATE_OUTCOME_DONE || json.unknown.len == 0) return outcome;
    struct framegate_text name = {json.unknown.data + 1, json.unknown.len - 2}; /* without the quotes */
    char list[400] = "";
    for (size_t i = 0; keys[i] != NULL && strlen(list) + strlen(keys[i]) + 3 < sizeof list; i++)
        strcat(strcat(list, i > 0 ? ", " : ""), keys[i]);
    return framegate_failf(error, FRAMEGATE_ERROR_KIND_SETTINGS, "settings.%.*s: unknown; this plugin knows %s",
                           framegate_json_shown(name), (const char *)name.data, keys[0] != NULL ? list : "no settings");
}

/* Refuses settings without this key. */
FRAMEGATE_HELPER int32_t framegate_setting_required(struct framegate_text settings, const char *key,
                                                    struct framegate_error *error) {
    struct framegate_text found;
    int32_t outcome = framegate_json_find(settings, key, NULL, NULL, &found, error);
    if (outcome != FRAMEGATE_OUTCOME_DONE || found.len > 0) return outcome;
    return framegate_failf(error, FRAMEGATE_ERROR_KIND_SETTINGS, "settings: missing field \"%s\"", key);
}

/* Whether the settings are a JSON object with this key. */
FRAMEGATE_HELPER bool framegate_setting_has(struct framegate_text settings, const char *key) {
    struct framegate_error ignored = {NULL, 0, 0, 0};
    return framegate_setting_required(settings, key, &ignored) == FRAMEGATE_OUTCOME_DONE;
}

/* Reads a whole number. 1.0 and 1e3 are refused. */
FRAMEGATE_HELPER int32_t framegate_setting_int(struct framegate_text settings, const char *key, int64_t *value,
                                               struct framegate_error *error) {
    struct framegate_text found;
    int32_t outcome = framegate_json_find(settings, key, "-0123456789", "a whole number", &found, error);
    if (found.len == 0) return outcome;
    char digits[41], *end; /* more than an int64_t can have */
    snprintf(digits, sizeof digits, "%.*s", framegate_json_shown(found), (const char *)found.data);
    errno = 0;
    long long number = strtoll(digits, &end, 10);
    if (*end != 0) return framegate_json_wrong(key, "a whole number", found, error);
    if (errno == ERANGE) return framegate_json_wrong(key, "a whole number of 64 bits", found, error);
    *value = number;
    return outcome;
}

/* Reads a number. */
FRAMEGATE_HELPER int32_t framegate_setting_float(struct framegate_text settings, const char *key, double *value,
                                                 struct framegate_error *error) {
    struct framegate_text found;
    int32_t outcome = framegate_json_find(settings, key, "-0123456789", "a number", &found, error);
    if (found.len == 0) return outcome;
    if (found.len > 370) return framegate_json_wrong(key, "a number of at most 370 characters", found, error);
    /* strtod expects the decimal point of the locale: instead of 12.5e3 it gets 125e2. */
    char number[400];
    size_t len = 0, i = 0;
    long shift = 0;
    for (bool fraction = false; i < found.len && (found.data[i] | 0x20) != 'e'; i++) {
        if (found.data[i] != '.') number[len++] = (char)found.data[i], shift -= fraction;
        else fraction = true;
    }
    snprintf(number + len, sizeof number - len, "%.*s", (int)(found.len - i), (const char *)found.data + i);
    long exponent = i < found.len ? strtol(number + len + 1, NULL, 10) : 0;
    shift += exponent > 9999 ? 9999 : exponent < -9999 ? -9999 : exponent;
    snprintf(number + len, sizeof number - len, "e%ld", shift);
    double parsed = strtod(number, NULL);
    if (parsed < -DBL_MAX || parsed > DBL_MAX) return framegate_json_wrong(key, "a number of 64 bits", found, error);
    *value = parsed;
    return outcome;
}

/* Reads true or false. */
FRAMEGATE_HELPER int32_t framegate_setting_bool(struct framegate_text settings, const char *key, bool *value,
                                                struct framegate_error *error) {
    struct framegate_text found;
    int32_t outcome = framegate_json_find(settings, key, "tf", "true or false", &found, error);
    if (found.len > 0) *value = found.data[0] == 't';
    return outcome;
}

/* Reads a string as UTF-8, with a zero at its end. Refuses one that needs more than `capacity` bytes, or has \u0000. */
FRAMEGATE_HELPER int32_t framegate_setting_str(struct framegate_text settings, const char *key, char *value,
                                               size_t capacity, struct framegate_error *error) {
    struct framegate_text found;
    int32_t outcome = framegate_json_find(settings, key, "\"", "a string", &found, error);
    if (found.len == 0) return outcome;
    for (bool fits = false;; fits = true) { /* twice, because *value changes only if all is well */
        struct framegate_json json = {found.data, found.len, 1, NULL, {NULL, 0}, {NULL, 0}, {0}};
        size_t len = 0;
        for (int more; (more = framegate_json_character(&json)) > 0; len += (size_t)more) {
            if (json.bytes[0] == 0) return framegate_json_wrong(key, "a string without \\u0000", found, error);
            if (fits) memcpy(value + len, json.bytes, (size_t)more);
        }
        if (fits) return value[len] = 0, outcome;
        if (len >= capacity)
            return framegate_failf(error, FRAMEGATE_ERROR_KIND_SETTINGS,
                                   "settings.%s: expected fewer than %zu bytes, found %zu", key, capacity, len);
    }
}

#endif
