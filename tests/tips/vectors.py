"""Examples of BOLT11's specification (lightning/bolts, CC-BY 4.0): what must be decoded, and what must be refused."""

# Each with the network, the amount in millisatoshi and the description hash that it has.
_SECRET = "sp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygs"
_HASH = "pp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypq"
_LIST = "hp58yjmdan79s6qqdhdzgynm4zwqd5d7xmw5fk98klysy043l2ahrqs"
_LIST_HASH = "3925b6f67e2c340036ed12093dd44e0368df1b6ea26c53dbe4811f58fd5db8c1"
_BEANS = f"lnbc25m1pvjluez{_HASH}dq5vdhkven9v5sxyetpdees{_SECRET}"
_BEANS_SIGNED = (
    f"{_BEANS}9q5sqqqqqqqqqqqqqqqqsgq2a25dxl5hrntdtn6zvydt7d66hyzsyhqs4wdynavys42xgl6sgx9c4g7me86a27t07mdtfry458rtjr0v92"
    "cnmswpsjscgt2vcse3sgpz3uapa"
)

VALID = {
    "donation": (
        (
            f"lnbc1pvjluez{_SECRET}{_HASH}dpl2pkx2ctnv5sxxmmwwd5kgetjypeh2ursdae8g6twvus8g6rfwvs8qun0dfjkxaq9qrsgq357wnc5r2ueh7"
            "ck6q93dj32dlqnls087fxdwk8qakdyafkq3yap9us6v52vjjsrvywa6rt52cm9r9zqt8r2t7mlcwspyetp5h2tztugp9lfyql"
        ),
        ("mainnet", None, None),
    ),
    "coffee": (
        (
            f"lnbc2500u1pvjluez{_SECRET}{_HASH}dq5xysxxatsyp3k7enxv4jsxqzpu9qrsgquk0rl77nj30yxdy8j9vdx85fkpmdla2087ne0xh8nhedh8"
            "w27kyke0lp53ut353s06fv3qfegext0eh0ymjpf39tuven09sam30g4vgpfna3rh"
        ),
        ("mainnet", 250_000_000, None),
    ),
    "nonsense": (
        (
            f"lnbc2500u1pvjluez{_SECRET}{_HASH}dpquwpc4curk03c9wlrswe78q4eyqc7d8d0xqzpu9qrsgqhtjpauu9ur7fw2thcl4y9vfvh4m9wlfyz2"
            "gem29g5ghe2aak2pm3ps8fdhtceqsaagty2vph7utlgj48u0ged6a337aewvraedendscp573dxr"
        ),
        ("mainnet", 250_000_000, None),
    ),
    "hashed list": (
        (
            f"lnbc20m1pvjluez{_SECRET}{_HASH}{_LIST}9qrsgq7ea976txfraylvgzuxs8kgcw23ezlrszfnh8r6qtfpr6cxga50aj6txm9rxrydzd06dfe"
            "awfk6swupvz4erwnyutnjq7x39ymw6j38gp7ynn44"
        ),
        ("mainnet", 2_000_000_000, _LIST_HASH),
    ),
    "testnet with fallback": (
        (
            f"lntb20m1pvjluez{_SECRET}{_LIST}{_HASH}fpp3x9et2e20v6pu37c5d9vax37wxq72un989qrsgqdj545axuxtnfemtpwkc45hx9d2ft7x04m"
            "t8q7y6t0k2dge9e7h8kpy9p34ytyslj3yu569aalz2xdk8xkd7ltxqld94u8h2esmsmacgpghe9k8"
        ),
        ("testnet", 2_000_000_000, _LIST_HASH),
    ),
    "routes": (
        (
            f"lnbc20m1pvjluez{_SECRET}{_HASH}{_LIST}fpp3qjmp7lwpagxun9pygexvgpjdc4jdj85fr9yq20q82gphp2nflc7jtzrcazrra7wwgzxqc8u"
            "7754cdlpfrmccae92qgzqvzq2ps8pqqqqqqpqqqqq9qqqvpeuqafqxu92d8lr6fvg0r5gv0heeeqgcrqlnm6jhphu9y00rrhy4grqszsvpcgpy9qqq"
            "qqqgqqqqq7qqzq9qrsgqdfjcdk6w3ak5pca9hwfwfh63zrrz06wwfya0ydlzpgzxkn5xagsqz7x9j4jwe7yj7vaf2k9lqsdk45kts2fd0fkr28am0u"
            "4w95tt2nsq76cqw0"
        ),
        ("mainnet", 2_000_000_000, _LIST_HASH),
    ),
    "P2SH": (
        (
            f"lnbc20m1pvjluez{_SECRET}{_LIST}{_HASH}fppj3a24vwu6r8ejrss3axul8rxldph2q7z99qrsgqz6qsgww34xlatfj6e3sngrwfy3ytkt29d"
            "2qttr8qz2mnedfqysuqypgqex4haa2h8fx3wnypranf3pdwyluftwe680jjcfp438u82xqphf75ym"
        ),
        ("mainnet", 2_000_000_000, _LIST_HASH),
    ),
    "P2WPKH": (
        (
            f"lnbc20m1pvjluez{_SECRET}{_LIST}{_HASH}fppqw508d6qejxtdg4y5r3zarvary0c5xw7k9qrsgqt29a0wturnys2hhxpner2e3plp6jyj8qx"
            "7548zr2z7ptgjjc7hljm98xhjym0dg52sdrvqamxdezkmqg4gdrvwwnf0kv2jdfnl4xatsqmrnsse"
        ),
        ("mainnet", 2_000_000_000, _LIST_HASH),
    ),
    "P2WSH": (
        (
            f"lnbc20m1pvjluez{_SECRET}{_LIST}{_HASH}fp4qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q9qrsgq9vlvyj8cqvq6g"
            "gvpwd53jncp9nwc47xlrsnenq2zp70fq83qlgesn4u3uyf4tesfkkwwfg3qs54qe426hp3tz7z6sweqdjg05axsrjqp9yrrwc"
        ),
        ("mainnet", 2_000_000_000, _LIST_HASH),
    ),
    "pico": (
        (
            "lnbc9678785340p1pwmna7lpp5gc3xfm08u9qy06djf8dfflhugl6p7lgza6dsjxq454gxhj9t7a0sd8dgfkx7cmtwd68yetpd5s9xar0wfjn5gpc8"
            "qhrsdfq24f5ggrxdaezqsnvda3kkum5wfjkzmfqf3jkgem9wgsyuctwdus9xgrcyqcjcgpzgfskx6eqf9hzqnteypzxz7fzypfhg6trddjhygrcyqe"
            f"zcgpzfysywmm5ypxxjemgw3hxjmn8yptk7untd9hxwg3q2d6xjcmtv4ezq7pqxgsxzmnyyqcjqmt0wfjjq6t5v4khx{_SECRET}xqyjw5qcqp2rzjq"
            "0gxwkzc8w6323m55m4jyxcjwmy7stt9hwkwe2qxmy8zpsgg7jcuwz87fcqqeuqqqyqqqqlgqqqqn3qq9q9qrsgqrvgkpnmps664wgkp43l22qsgdw4"
            "ve24aca4nymnxddlnp8vh9v2sdxlu5ywdxefsfvm0fq3sesf08uf6q9a2ke0hc9j6z6wlxg5z5kqpu2v9wz"
        ),
        ("mainnet", 967_878_534, None),
    ),
    "features 8, 14 and 99": (_BEANS_SIGNED, ("mainnet", 2_500_000_000, None)),
    "upper case": (_BEANS_SIGNED.upper(), ("mainnet", 2_500_000_000, None)),
    "fields to ignore": (
        (
            f"{_BEANS}9q5sqqqqqqqqqqqqqqqqsgq2qrqqqfppn{'q' * 32}ppn{'q' * 51}pp4{'q' * 53}hpn{'q' * 51}hp4{'q' * 53}"
            f"spn{'q' * 51}sp4{'q' * 53}np5{'q' * 52}npk{'q' * 54}z599y53s3ujmcfjp5xrdap68qxymkqphwsexhmhr8wdz5usdzkz"
            "rse33chw6dlp3jhuhge9ley7j2ayx36kawe7kmgg8sv5ugdyusdcqzn8z9x"
        ),
        ("mainnet", 2_500_000_000, None),
    ),
    "metadata": (
        (
            f"lnbc10m1pvjluez{_HASH}dp9wpshjmt9de6zqmt9w3skgct5vysxjmnnd9jx2mq8q8a04uq{_SECRET}9q2gqqqqqqsgq7hf8he7ecf7n4ffphs6"
            "awl9t6676rrclv9ckg3d3ncn7fct63p6s365duk5wrk202cfy3aj5xnnp5gs3vrdvruverwwq7yzhkf5a3xqpd05wjc"
        ),
        ("mainnet", 1_000_000_000, None),
    ),
}

_COFFEE = f"{_HASH}dq5xysxxatsyp3k7enxv4jsxqzpu{_SECRET}9qrsg"
_NONSENSE = (
    f"pvjluez{_HASH}dpquwpc4curk03c9wlrswe78q4eyqc7d8d0xqzpuyk0sg5g70me25alkluzd2x62aysf2pyy8edtjeevuv4p2d5p76r4zkmneet7uvy"
    "akky2zr4cusd45tftc9c5fh0nnqpnl2jfll544esqchsrn"
)
INVALID = {
    "unknown feature 100": (
        f"{_BEANS}9q4psqqqqqqqqqqqqqqqqsgqtqyx5vggfcsll4wu246hz02kp85x4katwsk9639we5n5yngc3yhqkm35jnjw4len8vrnqnf5ejh0mzj9n"
        "3vz2px97evektfm2l6wqccp3y7372"
    ),
    "checksum": f"lnbc2500u1{_NONSENSE}t",
    "no prefix": f"{_NONSENSE}y",
    "mixed case": f"LNBC2500u1{_NONSENSE}y",
    "signature": (
        f"lnbc2500u1pvjluez{_COFFEE}qwgt7mcn5yqw3yx0w94pswkpq6j9uh6xfqqqtsk4tnarugeektd4hg5975x9am52rz4qskukxdmjemg92vvqz8n"
        "vmsye63r5ykel43pgz7zq0g2"
    ),
    "too short": f"lnbc1pvjluez{_HASH}dpl2pkx2ctnv5sxxmmwwd5kgetjypeh2ursdae8g6na6hlh",
    "multiplier": (
        f"lnbc2500x1pvjluez{_COFFEE}qrrzc4cvfue4zp3hggxp47ag7xnrlr8vgcmkjxk3j5jqethnumgkpqp23z9jclu3v0a7e0aruz366e9wqdykw6d"
        "xhdzcjjhldxq0w6wgqcnu43j"
    ),
    "part of a millisatoshi": (
        f"lnbc2500000001p1pvjluez{_COFFEE}q0lzc236j96a95uv0m3umg28gclm5lqxtqqwk32uuk4k6673k6n5kfvx3d2h8s295fad45fdhmusm8sju"
        "dfhlf6dcsxmfvkeywmjdkxcp99202x"
    ),
    "no payment secret": (
        f"lnbc20m1pvjluez{_HASH}{_LIST}9qrsgq7ea976txfraylvgzuxs8kgcw23ezlrszfnh8r6qtfpr6cxga50aj6txm9rxrydzd06dfeawfk6swupvz"
        "4erwnyutnjq7x39ymw6j38gp49qdkj"
    ),
    "high S beside a payee": (
        f"lnbc25m1p70xwfz{_HASH}dpl2pkx2ctnv5sxxmmwwd5kgetjypeh2ursdae8g6twvus8g6rfwvs8qun0dfjkxaqnp4q0n326hr8v9zprg8gsvezcc"
        f"h06gfaqqhde2aj730yg0durunfhv66{_SECRET}9qrsgq{_SECRET}p5cfzp9ugllvk03rltd6hvndxj26ux6gcxc5azyxk060rj9tzghct5zvjl"
        "ps76gx8wpq5yuu79688k8gnm2c0al6v608s96l0xzrrlqqwnzxmu"
    ),
}
