"""Encodings of text files: told from the few words with an accent that a table has."""

# ruff: noqa: RUF001 (letters of other scripts are what is tested)

from __future__ import annotations

import codecs
import sqlite3
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.errors import InputError
from roadworthy.table import read_table
from roadworthy.table.encodings import guess_encoding

WORDS = {
    "German": ("cp1252", "Währung Größe Straße Köln München Tür"),
    "French": ("cp1252", "Orléans café été Besançon élevé où août"),
    "Spanish": ("cp1252", "Málaga Año España León niño Córdoba ¿qué?"),
    "Portuguese": ("cp1252", "São Ceará Paraná Goiás não município"),
    "Swedish": ("cp1252", "Göteborg Malmö Örebro Västerås Åre"),
    "prices": ("cp1252", "€ 12 10€ £3 20° 5m² 7µg"),
    "typography": ("cp1252", "it’s “good” a–b …"),
    "Polish": ("cp1250", "Łódź Gdańsk Poznań Wrocław Święta mężczyzna"),
    "Czech": ("cp1250", "Plzeň Ústí České Budějovice žena muž vyšší"),
    "Hungarian": ("cp1250", "Győr férfi nő Székesfehérvár Hűvös"),
    "Turkish": ("cp1254", "İstanbul Eskişehir kadın Ağrı çocuk"),
    "Lithuanian": ("cp1257", "Šiauliai Panevėžys Kėdainiai Marijampolė Ukmergė vyrų žmonių"),
    "Russian": ("cp1251", "Москва Санкт-Петербург мужчина женщина да нет"),
    "Russian of Unix": ("koi8-r", "Москва Санкт-Петербург мужчина женщина да нет"),
    "Greek": ("cp1253", "Αθήνα Θεσσαλονίκη ναι όχι άνδρας"),
    "Japanese": ("shift_jis", "東京 大阪 男性 女性 はい いいえ カタカナ ソフト"),
    "Chinese": ("gb18030", "北京 上海 男 女 是 否"),
    "Korean": ("euc_kr", "서울 부산 남자 여자"),
}


@pytest.mark.parametrize("language", WORDS)
@pytest.mark.parametrize("plain_lines", [0, 50])
def test_words_of_a_language_are_read_as_they_were_written(
    tmp_path: Path, language: str, plain_lines: int
) -> None:
    encoding, words = WORDS[language]
    file = tmp_path / "t.csv"
    lines = [f"{i / 2},{word},{'ab'[i % 2]}" for i, word in enumerate(words.split() * 20)]
    lines += [f"{i / 2},plain,{'ab'[i % 2]}" for i in range(plain_lines * 20)]
    file.write_bytes("\n".join(["x,word,y", *lines]).encode(encoding))
    found = set(read_table(file, "y").frame["word"].to_list())
    assert found - {"plain"} == set(words.split())


@given(st.binary(max_size=300))
def test_any_bytes_have_an_encoding_that_python_knows(sample: bytes) -> None:
    codecs.lookup(guess_encoding(sample))


def test_files_that_are_no_text_are_called_by_their_name(tmp_path: Path) -> None:
    packed, database = tmp_path / "t.zip", tmp_path / "t.csv"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("t.csv", "x,y\n1,a\n")
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE t (x REAL)")
    connection.close()
    for file, kind in ((packed, "ZIP archive"), (database, "SQLite database")):
        with pytest.raises(InputError, match=kind) as refused:
            read_table(file, "y")
        assert refused.value.where == str(file)
        assert refused.value.fix
